"""The commands and the Python of README.md, docs/ and deploy/ run, but for those on the list of `tests.documentation`.

Each page is followed from top to bottom in a copy of a finished pipeline. Arguments are checked of every command of
ours, also of those that take too long to run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.registry.decision import CHAMPION
from tests.documentation import NOT_RUN_PYTHON, PAGES, REPOSITORY, commands, programs, reason

from .conftest import Clone

pytestmark = pytest.mark.pipeline

RUN = sorted({page for page, command in commands() if reason(page, command) is None})
PYTHON = [page for page in PAGES if programs(page) and page not in ("README.md", *NOT_RUN_PYTHON)]


def sources(clone: Path) -> str:
    """Texts to translate, like those that the translator learned from: others would be drift, and status 3."""
    pairs = (clone / "data/translation/raw/dates.tsv").read_text(encoding="utf-8").splitlines()
    return "".join(pair.partition("\t")[0] + "\n" for pair in pairs[:500])


FILES = {  # that pages name: the name, and what makes it from the sample's data
    "drawings.ndjson": lambda clone: (clone / "data/sketch/raw/simplified/clock.ndjson").read_text(),
    "sentences.txt": sources,
    "days.csv": lambda clone: "ds,y\n" + "".join(f"2024-01-{day:02},{day % 7}\n" for day in range(1, 31)),
}


@pytest.fixture
def checkout(finished: tuple[Clone, list[str]], tmp_path: Path) -> Clone:
    """A copy of the finished pipeline, with champions, files that the pages name and the environment of the tests."""
    clone = Clone(tmp_path / "clone")
    shutil.copytree(finished[0].folder, clone.folder, symlinks=True)
    for name, content in FILES.items():
        (clone.folder / name).write_text(content(clone.folder), encoding="utf-8")
    client = MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    for model in client.search_registered_models():  # trained so little, the gate lets few of them through
        client.set_registered_model_alias(model.name, CHAMPION, "1")
    if not (clone.folder / ".venv").exists():
        (clone.folder / ".venv").symlink_to(Path(sys.prefix))
    return clone


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_every_command_runs(page: str, checkout: Clone) -> None:
    for name, command in commands():
        if name == page and reason(page, command) is None:
            checkout.run("bash", "-c", command)


@pytest.mark.parametrize("page", PYTHON)
def test_every_block_of_python_prints_what_the_page_says(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    for code, expected in programs(page):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, page, "exec"), {"__name__": "__main__"})
        assert [line.rstrip() for line in printed.getvalue().splitlines()] == expected, code


def test_the_readme_s_model_is_loaded_and_answers(checkout: Clone) -> None:
    ((code, shown),) = programs("README.md")
    code = code.replace("sqlite:////path/to/unroll/mlflow.db", f"sqlite:///{checkout.folder}/mlflow.db")
    *lines, last = code.partition("#   translation")[0].strip().splitlines()
    printed = checkout.run(sys.executable, "-c", "\n".join([*lines, f"print({last})"]))
    assert shown[0].split() == printed.splitlines()[-3].split() == ["translation", "score"]


def test_every_command_of_ours_takes_the_arguments_that_pages_give_it(tmp_path: Path) -> None:
    found = []
    for page, command in commands():
        ours = re.search(r"python -m ((?:stages|flows|benchmarks)[\w.]*)(.*)", command)
        if ours:
            # Words in capitals and the team's data stand for what a user has.
            arguments = re.sub(r"(?<= )(?:[A-Z]{4,}|\.\./shared\S*)(?= |$)", str(tmp_path), ours[2])
            found.append({"page": page, "module": ours[1], "arguments": arguments})
    assert len(found) > 50
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    checked = subprocess.run(
        [sys.executable, "-m", "tests.arguments"],
        cwd=REPOSITORY,
        env=environment,
        input=json.dumps(found),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout) == []

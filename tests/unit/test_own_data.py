"""The pages on one's own data: as they stand, their files are fetched and prepared with their edits."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.command import one_line_errors
from stages.download import download
from stages.params import load
from stages.preprocess import preprocess
from stages.recipe import lay_over
from stages.tasks.protocol import Task
from tests.own_data import DOCS, TASKS, page, write


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the params as they are shipped."""
    (tmp_path / "checkout").mkdir()
    shutil.copy(DOCS.parent / "params.yaml", tmp_path / "checkout/params.yaml")
    monkeypatch.chdir(tmp_path / "checkout")


def prepare(name: str) -> None:
    task = Task(name)
    download(task, load()[name])
    preprocess(task, load()[name])


@pytest.mark.parametrize("name", TASKS)
def test_what_a_page_says_is_what_comes_out(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = page(name)
    well, ill = shown.said
    write(name, shown.example, tmp_path / "data")
    lay_over(shown.params(tmp_path / "data"), Path("params.yaml"), source="page")
    prepare(name)
    assert capsys.readouterr().out.splitlines()[-1] == well
    shutil.rmtree(tmp_path / "data")
    write(name, shown.example, tmp_path / "data", fault=True)
    if name == "forecast":
        lay_over({name: {"prepare": {"thousands": ""}}}, Path("params.yaml"), source="page")
    with pytest.raises(SystemExit) as error, one_line_errors(f"unroll: preprocess {name}"):
        prepare(name)
    assert str(error.value) == ill


def test_the_settings_for_a_short_series_prepare_300_days_which_those_before_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = page("forecast")
    write("forecast", shown.example, tmp_path / "data")
    file = tmp_path / "data/sales.csv"
    lines = file.read_text(encoding="cp1252").splitlines()[: 1 + 2 * 300]
    file.write_text("\n".join(lines) + "\n", encoding="cp1252")
    lay_over(shown.params(tmp_path / "data"), Path("params.yaml"), source="page")
    with (
        pytest.raises(SystemExit, match="300 days; allowed: at least 568"),
        one_line_errors("unroll: preprocess forecast"),
    ):
        prepare("forecast")
    capsys.readouterr()
    lay_over(yaml.safe_load(shown.short), Path("params.yaml"), source="short")
    prepare("forecast")
    assert "forecast: 600 values of 2 series; rejected 0" in capsys.readouterr().out
    settings: Any = load()["forecast"]
    weeks = settings.prepare.test_days // settings.evaluate.origin_step
    assert settings.register_.min_examples <= weeks  # of one series


@pytest.mark.parametrize("name", TASKS)
def test_a_page_is_short_and_begins_with_ten_lines_of_a_file(name: str) -> None:
    shown = page(name)
    assert len(shown.example.splitlines()) == 10
    assert len(shown.text.split()) <= 750
    assert f"dvc repro register@{name}" in shown.commands
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert f"(docs/own-data-{name}.md)" in readme
    for file, anchor in re.findall(r"\]\(([\w-]+\.md)#?([\w-]*)\)", shown.text):
        headings = re.findall(r"^#+ (.*)$", (DOCS / file).read_text(encoding="utf-8"), re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors

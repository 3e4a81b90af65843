"""What stands in the fenced blocks of README.md, docs/ and deploy/: commands, Python, YAML."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "deploy/README.md")
)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    language: str
    text: str

    def commands(self) -> list[str]:
        """The commands of a block in sh, without comments; a line that ends with a backslash goes on."""
        whole = self.text.replace("\\\n", " ")
        lines = (shlex.split(line, comments=True, posix=False) for line in whole.splitlines())
        parts = [list(part) for words in lines for joint, part in groupby(words, "&&".__eq__) if not joint]
        return [" ".join(words) for words in parts]


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page in some languages, in their order."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [Block(page, language, content) for language, content in found if language in languages]


def commands() -> Iterator[tuple[str, str]]:
    """Every command of every page, as page and command; those of a script that begins with #! are one program."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            if not block.text.startswith("#!"):
                yield from ((page, command) for command in block.commands())


def programs(page: str) -> list[tuple[str, list[str]]]:
    """The blocks of Python of a page, each with the lines that the page says it prints: those of the block of text
    right below it, or else the comments right below its lines that print.
    """
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", text, re.DOTALL | re.MULTILINE)
    return [(code, below.splitlines() or _comments_on_output(code)) for code, below in found]


def _comments_on_output(code: str) -> list[str]:
    lines, printed = [], False
    for line in code.splitlines():
        comment = line.startswith("#") and printed
        if comment:
            lines.append(line.removeprefix("#").removeprefix(" "))
        printed = comment or line.lstrip().startswith(("print(", "model.predict("))
    return lines


def inline(page: str) -> list[str]:
    """What stands between backticks in the page's text."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


# Commands that no test runs from the page: a pattern and why. A pattern that fits no command fails.
NOT_RUN = {
    "make repro": "minutes; CI runs its parts, and tests/pipeline runs `dvc repro`",
    "make test": "this is it",
    "make up*": "servers; tests/system/test_flows.py and test_backend.py start them",
    "make down": "stops servers; tests/system/test_flows.py",
    "make ui": "a server that stays; tests/system/test_mlflow_pages.py opens its pages",
    "make demo": "a server that stays; tests/system/test_demo.py",
    "python -m flows.demo*": "a server that stays; tests/system/test_demo.py",
    "make environment": "installs packages; tests/system/test_setup.py",
    "make cluster": "installs packages",
    "python -m flows.run*": "a Prefect server; tests/system/test_flows.py and test_nights.py",
    "python -m flows.tune*": "a Prefect server; tests/system/test_tune.py",
    "python -m flows.replay*": "hours; tests/system/test_replay.py walks a short way",
    "python -m benchmarks.*": "a measurement of minutes to hours",
    "python -m stages.recipe quickdraw": "data from a host; tests/unit/test_recipe.py",
    "python -m stages.recipe multi30k": "data from a host",
    "python -m stages.recipe tatoeba": "data from a host",
    "python -m stages.recipe ucf101": "data from a host",
    "dvc exp apply *": "needs the experiment of a search",
    "dvc remote add *": "a bucket; tests/system/test_remote.py",
    "dvc push": "a bucket; tests/system/test_remote.py",
    "git clone *": "a host",
    "git commit *": "follows a remote that is not there",
    "mlflow server *": "a server that stays; tests/system/test_backend.py",
    "mlflow models *": "a server or an environment; tests/pipeline/test_fresh_environments.py",
    "curl *": "asks a server; tests/system/test_served.py",
    "prefect *": "a worker; tests/system/test_remote.py",
    "export *": "sets variables for what follows",
    "source *": "enters the environment",
    "cd *": "enters a folder that is not there",
    "UNROLL_*": "a server; tests/system/test_served.py",
    "python -m stages.score *": "needs days that have come, or a labelled file; tests/unit/test_scoring.py",
    "python -m stages.refresh --weights *": "needs a start_from; tests/unit/test_start_from.py",
    "python -m stages.registry rollback *": "needs an earlier champion; tests/pipeline/test_registry.py",
    "PET_NODE_RANK=*": "several machines; tests/system/test_training_ranks.py",
    "ray *": "a cluster; tests/system/test_cluster.py",
    "docker *": "an engine; tests/system/test_dockerfile.py reads the file",
    "kubectl *": "a cluster; tests/system/test_manifests.py reads the files",
    "head=$(kubectl *": "a cluster",
}

# Pages whose commands need files of their own, and the test that makes those.
RUN_ELSEWHERE = {"docs/own-data-*.md": "tests/pipeline/test_own_data.py"}


def reason(page: str, command: str) -> str | None:
    """Why `tests/pipeline/test_documentation.py` does not run a command of a page; None where it does."""
    if any(fnmatch(page, pattern) for pattern in RUN_ELSEWHERE):
        return "run elsewhere"
    return next((why for pattern, why in NOT_RUN.items() if fnmatch(command, pattern)), None)


# Pages whose Python goes on from what the reader has, and why.
NOT_RUN_PYTHON = {
    "docs/cluster.md": "Ray, which its group installs; tests/system/test_ray_data.py runs it",
    "docs/evaluation.md": "compares two models of the reader's; tests/unit/test_comparison.py",
    "docs/feedback.md": "takes drawings of the reader's; tests/unit/test_feedback.py",
    "docs/refit.md": "a line that goes on from a program; tests/pipeline/test_registered_models.py",
}

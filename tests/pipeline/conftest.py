"""A clone of the working tree with tiny params, in which the real pipeline runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from stages.recipe import apply

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = Path(__file__).with_name("tiny.yaml")


@dataclass(frozen=True)
class Clone:
    """A checkout in a temporary folder and the commands that a user would give in it."""

    folder: Path

    def run(self, *command: str, ok: bool = True) -> str:
        """Run a command in the clone with the tests' own Python; returns what it printed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=840)
        printed = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, f"{' '.join(command)} ended with {done.returncode}:\n{printed}"
        return printed

    def repro(self, *arguments: str) -> list[str]:
        """`dvc repro`; returns the stages that ran."""
        return ran(self.run("dvc", "repro", *arguments))

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace the first occurrence of a text in a file that must hold it."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert before in text, f"{name} does not hold {before!r}"
        path.write_text(text.replace(before, after, 1), encoding="utf-8")


def ran(printed: str) -> list[str]:
    """The names of the stages that a `dvc repro` ran, in order."""
    return [line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage '")]


def lay_out(folder: Path) -> None:
    """Copy the files that git tracks or would track, but dvc.lock, with tiny params."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    apply(TINY, folder / "params.yaml")


def make_clone(folder: Path) -> Clone:
    """The present files, committed in a repository of their own."""
    lay_out(folder)
    clone = Clone(folder)
    clone.run("git", "init", "--quiet")
    clone.run("git", "config", "user.email", "test@example.org")
    clone.run("git", "config", "user.name", "Test")
    commit(clone)
    return clone


def commit(clone: Clone) -> None:
    """Commit all that has changed."""
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--allow-empty", "--message", "state")


@pytest.fixture(scope="session")
def empty_clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which nothing has run."""
    return make_clone(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> tuple[Clone, list[str]]:
    """A clone after its first `dvc repro`, and the stages that ran. Processes of tests that run side by side share one:
    the first that asks makes it, and the others take a copy, since tests change what they get.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":  # pytest-xdist gives each process a folder below that of the run
        shared = shared.parent
    made, ran_stages = shared / "finished", shared / "finished.json"
    with FileLock(shared / "finished.lock"):
        if not ran_stages.is_file():
            made.mkdir()
            clone = make_clone(made)
            stages = clone.repro()
            commit(clone)
            ran_stages.write_text(json.dumps(stages), encoding="utf-8")
    copy = tmp_path_factory.mktemp("finished") / "clone"
    shutil.copytree(made, copy, symlinks=True)
    return Clone(copy), json.loads(ran_stages.read_text(encoding="utf-8"))

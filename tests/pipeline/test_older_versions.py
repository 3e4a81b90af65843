"""Versions that an older checkout registered stay usable: made by the code of one old commit, read by today's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Clone, commit, lay_out
from .toy import MODEL, Store, add_toy

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

# The last commit before decisions became tags of their own, and before stages/ had folders.
COMMIT = "f0f38c71a48fb1b56bd2b76ba9341eb1a2011310"

# That commit's own toy task, as version 1, the champion, and with its signs turned as version 2, which loses.
REGISTER = """
import sys
from pathlib import Path
from tests.pipeline.toy import Store, make_toy

folder = Path(sys.argv[1])
print(*Store(make_toy(folder), folder).variants((-1, 0.9)))
"""

PREDICT = """
import sys
import mlflow.pyfunc
import pandas as pd
from stages.tasks.protocol import Task
from stages.tracking.mlflow_runs import open_client

open_client()
model = mlflow.pyfunc.load_model(f"models:/toy-classifier/{sys.argv[1]}")
print(len(model.predict(pd.DataFrame(Task("toy").rows().example(None, ["numbers"])))))
"""


def git(*arguments: str, folder: Path = REPOSITORY) -> int:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True).returncode


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A checkout of today in which the older code has registered two versions, with its store and DVC's cache."""
    if git("cat-file", "-e", f"{COMMIT}^{{commit}}"):
        pytest.skip(f"commit {COMMIT[:7]} is not in the history of this clone: `git fetch --unshallow` brings it")
    older, folder = tmp_path_factory.mktemp("older"), tmp_path_factory.mktemp("checkout")
    assert git("clone", "--quiet", "--shared", "--no-checkout", str(REPOSITORY), str(older)) == 0
    assert git("checkout", "--quiet", COMMIT, folder=older) == 0
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    command = [sys.executable, "-c", REGISTER, str(folder)]
    environment["PYTHONPATH"] = str(older)
    done = subprocess.run(command, cwd=older, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().rpartition("\n")[2].startswith("challenger: not better than the champion"), done.stdout

    clone = Clone(folder)
    for name in clone.run("git", "ls-files").splitlines():
        (folder / name).unlink()
    shutil.rmtree(folder / "stages")
    lay_out(folder)
    add_toy(clone)
    commit(clone)
    return Store(clone, folder)


def test_an_older_version_answers_and_what_it_was_judged_by_is_shown(store):
    assert int(store.run("-c", PREDICT, "1")) > 0
    listed = store.registry("list", "toy")
    assert f"{MODEL} 1 @champion" in listed
    assert "challenger_lost: not better than the champion" in " ".join(listed.replace("│", " ").split())
    assert "verdict   champion: accuracy " in store.registry("show", "toy@champion")
    shown = store.registry("show", "toy/2")
    assert "gate      version 2 reached" in shown
    assert "on 100 test examples: better with a chance of 0.0%" in shown


def test_the_hashes_and_the_metrics_of_an_older_version_are_found_again(store):
    found = store.registry("verify", "toy/1").partition("this checkout")
    assert found[0].count("ok  ") == 5
    assert "differs" not in found[0]
    # A receipt of today holds the hash of a profile, which older code has not made.
    assert found[2].strip().startswith("missing  receipts/toy.json: cannot hash its outputs: ")
    assert "proven: " in store.registry("prove", "toy/1")


def test_a_new_version_is_compared_with_an_older_champion_which_can_come_back(store):
    store.run("-m", "dvc", "repro", "--quiet", "register@toy")
    assert store.decisions() == {"1": "superseded", "2": None, "3": "champion"}
    reason = store.client.get_model_version(MODEL, "3").tags["unroll.reason"]
    assert "on 100 test examples (version 1 may have learned from them; no record says) the same answers as" in reason
    assert "did not answer" not in reason
    assert "verdict   superseded: accuracy " in store.registry("show", "toy/1")
    assert "would delete" not in store.registry("gc", "--keep=2")  # a rollback would go back to version 1
    assert f"{MODEL} version 1 is champion again; version 3 is not" in store.registry("rollback", "toy", "--by=Ada")
    assert store.decisions() == {"1": "champion", "2": None, "3": "rolled_back"}
    assert "verdict   champion: rolled back from version 3 by Ada" in store.registry("show", "toy")

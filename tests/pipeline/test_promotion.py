"""Champions by a person's decision: every task's model is asked for an answer before it gets the alias."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.tasks.protocol import Task

from .conftest import Clone

pytestmark = pytest.mark.pipeline

Promotion = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def store(finished: tuple[Clone, list[str]], tmp_path: Path) -> MlflowClient:
    """A copy of the finished clone's registry, in which nobody is champion."""
    copy = shutil.copy(finished[0].folder / "mlflow.db", tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{copy}")
    for model in client.search_registered_models():
        client.delete_registered_model_alias(model.name, "champion")
    return client


@pytest.fixture
def promotion(finished: tuple[Clone, list[str]], tmp_path: Path, store: MlflowClient) -> Promotion:
    """`python -m stages.registry.promotion` in the finished clone, on the copied registry."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stages.registry.promotion", *arguments],
            cwd=finished[0].folder,
            env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.mark.parametrize(
    "name",
    [
        "forecast",
        "sketch",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("drawing", "translation", "video")),
    ],
)
def test_a_version_that_answers_becomes_champion(name, promotion, store):
    done = promotion("approve", name, "--version=1", "--champion=none", "--by=Ada", "--reason=good")
    assert done.returncode == 0, done.stderr
    model = Task(name).description().model_name
    assert f"{model}: version 1 is champion (approved by Ada: good)" in done.stdout
    champion = store.get_model_version_by_alias(model, "champion")
    assert str(champion.version) == "1"
    assert (champion.tags["unroll.decision"], champion.tags["unroll.reason"]) == ("champion", "approved by Ada: good")


def test_a_version_that_does_not_answer_leaves_everything_as_it_was(promotion, store):
    version = store.get_model_version("forecaster", "1")
    broken = store.create_model_version("forecaster", "file:///no/such/model", version.run_id)
    store.set_registered_model_alias("forecaster", "champion", "1")
    done = promotion("approve", "forecast", f"--version={broken.version}", "--champion=1", "--by=Ada")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("unroll: ")]
    assert f"forecaster version {broken.version} does not answer" in line
    assert str(store.get_model_version_by_alias("forecaster", "champion").version) == "1"
    assert "unroll.decision" not in store.get_model_version("forecaster", broken.version).tags


def test_a_version_beside_the_champion_is_printed_with_what_approves_it(promotion, store, tmp_path):
    version = store.get_model_version("forecaster", "1")
    other = store.create_model_version("forecaster", "file:///no/such/model", version.run_id, tags=version.tags)
    store.set_registered_model_alias("forecaster", "champion", other.version)
    done = promotion("compare", "forecast", "--version=1", f"--folder={tmp_path / 'files'}")
    assert done.returncode == 0, done.stderr
    for part in (f"champion, version {other.version}", "mae", "baseline_seasonal_naive_mae", "examples", "test data"):
        assert part in done.stdout
    assert "different test data" not in done.stdout
    assert done.stdout.splitlines()[-2:] == [
        "To make it champion: python -m stages.registry.promotion approve forecast --version 1 "
        f"--champion {other.version} --reason TEXT",
        "To turn it down: python -m stages.registry.promotion reject forecast --version 1 --reason TEXT",
    ]
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == [
        "comparison.json",
        "pictures",
        "training.csv",
    ]
    done = promotion("compare", "forecast", f"--version={other.version}")
    assert done.stdout == f"forecaster version {other.version} is already the champion\n"


def test_an_approval_names_the_champion_that_it_saw(promotion, store):
    done = promotion("approve", "forecast", "--by=Ada")
    assert done.returncode == 2
    assert "approve: --champion is missing; allowed: a version, as `compare forecast` shows it, or none" in done.stderr


def test_a_version_whose_run_is_gone_cannot_be_judged(promotion, store, tmp_path):
    store.delete_run(store.get_model_version("forecaster", "1").run_id)
    done = promotion("compare", "forecast", "--version=1", f"--folder={tmp_path}")
    assert done.returncode == 1
    assert "MLflow no longer has the run that measured it" in done.stderr
    assert not (tmp_path / "comparison.json").exists()


def test_without_a_challenger_there_is_nothing_to_decide(promotion, store, tmp_path):
    store.delete_registered_model_alias("forecaster", "challenger")
    done = promotion("compare", "forecast", f"--folder={tmp_path}")
    assert (done.returncode, done.stderr.strip()) == (
        1,
        "unroll: promotion: forecaster: no version has the alias 'challenger'; register one first, or name a version",
    )

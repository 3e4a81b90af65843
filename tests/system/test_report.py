"""What a run of the pipeline shows: metrics against the champion, pictures, links; and that the registry is whole."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mlflow import MlflowClient

from .house import House, Run

pytestmark = pytest.mark.system
FORECAST = {"tasks": ["forecast"], "where": "here"}


def finished(flows: House) -> Run:
    run = flows.start("pipeline/pipeline", options=FORECAST)
    assert run.wait() == "COMPLETED", run.message()
    return run


@pytest.fixture(scope="module")
def forced(flows: House) -> Run:
    """A run in which stages have run, whatever ran before it."""
    run = flows.start("pipeline/pipeline", options={**FORECAST, "force": True})
    assert run.wait() == "COMPLETED", run.message()
    return run


def test_a_run_shows_metrics_pictures_and_links(flows, forced):
    artifacts = forced.artifacts()
    assert "| forecast | mae ↓ |" in artifacts["metrics"]
    pictures = artifacts["pictures-forecast"]
    assert len(pictures) < 300_000
    for title in ("learning curve", "forecasts", "error by day"):
        assert f"![{title}](data:image/webp;base64," in pictures
    assert (
        f"[forecaster 1]({flows.servers.mlflow}/#/models/forecaster/versions/1?workflowType=machine_learning)"
        in artifacts["links"]
    )
    run_id = artifacts["links"].partition("/runs/")[2].partition("?")[0]
    store = MlflowClient(f"sqlite:///{flows.clone.folder / 'mlflow.db'}")
    assert store.get_run(run_id).data.tags["unroll.task"] == "forecast"


def test_a_run_of_unchanged_stages_draws_nothing_and_registers_what_a_wiped_store_lacks(flows, forced):
    store = MlflowClient(f"sqlite:///{flows.clone.folder / 'mlflow.db'}")
    for version in store.search_model_versions("name = 'forecaster'"):
        store.delete_model_version("forecaster", version.version)
    run = finished(flows)
    assert set(run.tasks().values()) == {"Cached"}
    assert set(run.artifacts()) == {"plan", "metrics", "links"}
    assert len(store.search_model_versions("name = 'forecaster'")) == 1


# A flow as a person would run it in a terminal, with a registry that nobody answers for.
ALONE = """
from flows.pipeline import PipelineOptions, pipeline
pipeline(PipelineOptions(tasks=["forecast"], where="here"))
"""


@pytest.mark.slow
def test_a_registry_that_is_away_fails_no_run(flows, forced):
    environment = {**flows.environment, "MLFLOW_TRACKING_URI": "http://user:secret@127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=flows.clone.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout + done.stderr
    (warning,) = [line for line in printed.splitlines() if "no answer from the registry" in line]
    assert "unroll: MLflow at http://127.0.0.1:9: " in warning
    assert "secret" not in printed

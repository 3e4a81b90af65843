"""What MLflow's own pages make of the addresses and the view that this project writes, in a headless browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from playwright.sync_api import expect

from stages.tracking import pages

from .mlflow_server import mlflow_server

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[str]:
    """The address of a server whose store lies in the folder of the test."""
    with mlflow_server(
        tmp_path, "--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", environment={}
    ) as address:
        yield address


def test_a_tasks_runs_open_in_the_view_for_training_and_begin_with_its_metric(mlflow, page, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = MlflowClient(mlflow)
    experiment = client.create_experiment("unroll/toy")
    run_id = client.create_run(experiment).info.run_id
    for name in ("a_metric", "test_mae", "test_mae_low", "test_mae_high"):
        client.log_metric(run_id, name, 2.5)
    pages.show_first(client, experiment, "mae")
    runs, _ = (line.split()[-1] for line in pages.links(client, mlflow))
    page.goto(runs)
    first = page.locator(".ag-header-cell[col-id*='metric']").first
    expect(first).to_contain_text("test_mae", timeout=60_000)
    expect(page.get_by_text("Model registry")).to_be_visible()  # the view for language models has none

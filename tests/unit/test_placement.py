"""Which stages of a plan run on a pool."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.dag import PlannedStage, Resources
from flows.execution import placement as module
from flows.execution.placement import PlacementError, placement
from flows.options import PipelineOptions

PLAN = (
    PlannedStage(name="download@a", verdict="cached"),
    PlannedStage(name="preprocess@a", verdict="restore"),
    PlannedStage(name="train@a", verdict="run"),
    PlannedStage(name="evaluate@a", verdict="wait"),
)


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clean checkout with a remote, on a machine without GPUs; a worker of the pool `gpu` is online."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(module, "has_worker", lambda pool: pool == "gpu")
    monkeypatch.setattr(module, "commit_of", lambda root: "f" * 40)
    resources = {"train@a": Resources(gpus=1)}
    pipeline = SimpleNamespace(has_remote=lambda: True, resources=lambda name: resources.get(name, Resources()))
    return SimpleNamespace(root=Path(), pipeline=pipeline)


def pools(checkout: Any, **options: Any) -> list[str | None]:
    return [stage.pool for stage in placement(checkout, PLAN, PipelineOptions(**options))]


def test_what_must_run_goes_to_the_pool_or_what_asks_for_a_gpu_or_nothing(checkout: Any) -> None:
    assert pools(checkout, where="pool") == [None, None, "gpu", "gpu"]
    assert pools(checkout, where="auto") == [None, None, "gpu", None]
    assert pools(checkout, where="here") == [None] * 4


def test_a_download_of_a_local_folder_of_corrections_runs_here(checkout: Any, tmp_path: Path) -> None:
    checkout.root = tmp_path
    plan = [PlannedStage(name=f"download@{task}", verdict="run") for task in ("sketch", "video", "forecast")]
    corrections = {"sketch": ["s3://bucket/feedback", "feedback/sketch"], "video": ["s3://bucket/feedback"]}
    lines = [f"{task}: {{source: {{also: {also}}}}}\n" for task, also in corrections.items()]
    (tmp_path / "params.yaml").write_text("".join([*lines, "forecast: {source: {url: x}}\n"]), encoding="utf-8")
    placed = placement(checkout, plan, PipelineOptions(where="pool"))
    assert [stage.pool for stage in placed] == [None, "gpu", "gpu"]


def test_all_stays_here_where_a_gpu_is_here_or_nobody_could_take_it(
    checkout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pools(checkout, where="auto", pool="empty") == [None] * 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert pools(checkout, where="auto") == [None] * 4


def test_a_pool_that_cannot_be_reached_is_said(checkout: Any) -> None:
    with pytest.raises(PlacementError, match="no worker of the pool 'empty' is online: `prefect worker start"):
        pools(checkout, where="pool", pool="empty")
    checkout.pipeline.has_remote = lambda: False
    assert pools(checkout, where="auto") == [None] * 4
    with pytest.raises(PlacementError, match="needs a DVC remote that both machines can reach"):
        pools(checkout, where="pool")

"""The pipeline as flows on real servers."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from stages.recipe import override
from stages.tracking.store import found_or_none

from .house import House

pytestmark = pytest.mark.system
FORECAST = {"tasks": ["forecast"], "where": "here"}


def test_a_flow_runs_the_stages_and_then_finds_them_cached(flows: House) -> None:
    run = flows.start("pipeline/pipeline", options=FORECAST)
    assert run.wait() == "COMPLETED", run.message()
    stages = [f"{verb}@forecast" for verb in ("download", "preprocess", "train", "evaluate", "register")]
    assert set(run.tasks()) == set(stages)
    assert set(run.tasks().values()) <= {"Completed", "Restored"}  # another test may have had the same params
    assert "has never run" in run.artifacts()["plan"]
    of_stages = run.logs_of_tasks()
    assert all(line.partition(": ")[0] in stages for line in of_stages)
    assert any(line.startswith("train@forecast: epoch") for line in of_stages)
    again = flows.start("pipeline/pipeline", options=FORECAST)
    assert again.wait() == "COMPLETED"
    assert again.tasks() == dict.fromkeys(stages, "Cached")
    assert flows.clone.repro("register@forecast") == []


@pytest.mark.slow
def test_the_forecast_flow_keeps_what_the_champion_says_and_scores_it(flows: House) -> None:
    run = flows.start("pipeline/pipeline", options=FORECAST)
    assert run.wait() == "COMPLETED", run.message()
    # A tiny training may not beat its baselines; whoever is champion forecasts.
    client = MlflowClient(f"sqlite:///{flows.clone.folder / 'mlflow.db'}")
    lacking = found_or_none(lambda: client.get_model_version_by_alias("forecaster", "champion")) is None
    if lacking:
        client.set_registered_model_alias("forecaster", "champion", "1")
    try:
        first, again = (flows.start("forecast/forecast", options={}) for _ in range(2))
        assert [first.wait(), again.wait()] == ["COMPLETED", "COMPLETED"], (first.message(), again.message())
    finally:
        if lacking:
            client.delete_registered_model_alias("forecaster", "champion")
    (file,) = (flows.clone.folder / "forecasts").rglob("*.*")
    assert file.match("forecasts/forecast/origin=2016-01-01/version=*.parquet")
    assert "has forecast" in first.message()
    assert (
        "nothing to compare: 7 days are forecast, and none of them has an observed value"
        in first.artifacts()["scores-forecast"]
    )
    assert flows.clone.run("git", "status", "--porcelain", "--untracked-files=no") == ""


def test_two_triggers_at_the_same_time_share_the_work(flows: House) -> None:
    params = flows.clone.folder / "params.yaml"
    before = params.read_text(encoding="utf-8")
    override(["forecast.train.seed=11"], params)
    try:
        runs = [flows.start("pipeline/pipeline", options=FORECAST | {"up_to": "train"}) for _ in range(2)]
        assert [run.wait() for run in runs] == ["COMPLETED", "COMPLETED"]
        assert sorted(run.tasks()["train@forecast"] for run in runs) == ["Cached", "Completed"]
        assert "forecast.train.seed: 1 → 11" in runs[0].artifacts()["plan"]
    finally:
        params.write_text(before, encoding="utf-8")


def test_a_failing_stage_stops_only_what_depends_on_it(flows: House) -> None:
    source = ["kind=quickdraw", "url=file:///nowhere", "categories={cat: simplified, pig: simplified}"]
    overrides = ["forecast.train.seed=12", *(f"sketch.source.{setting}" for setting in source)]
    options = {"tasks": ["forecast", "sketch"], "up_to": "train", "where": "here", "overrides": overrides}
    run = flows.start("pipeline/pipeline", options=options)
    assert run.wait() == "FAILED"
    tasks = run.tasks()
    assert tasks["train@forecast"] == "Completed"
    assert tasks["download@sketch"] == "Failed"
    assert tasks["preprocess@sketch"] == tasks["train@sketch"] == "NotReady"
    for message in (run.message(), run.task_messages()["download@sketch"]):
        assert "unroll: download sketch: " in message
        assert "/nowhere" in message
    assert "Retry 3/3" in run.logs()
    assert "dvc.lock" not in flows.clone.run("dvc", "exp", "list")
    assert flows.clone.run("git", "status", "--porcelain", "--untracked-files=no") == ""


def test_a_run_with_other_params_is_an_experiment_and_leaves_the_checkout_alone(flows: House) -> None:
    lock = flows.clone.folder / "dvc.lock"
    before = lock.read_bytes() if lock.exists() else b""
    options = FORECAST | {"up_to": "train", "overrides": ["forecast.train.seed=13"]}
    run = flows.start("pipeline/pipeline", options=options)
    assert run.wait() == "COMPLETED", run.message()
    assert (lock.read_bytes() if lock.exists() else b"") == before
    assert flows.clone.run("git", "status", "--porcelain", "--untracked-files=no") == ""
    name = run.facts()["name"]
    assert name in flows.clone.run("dvc", "exp", "list")
    commit = flows.clone.run("dvc", "exp", "list", "--sha-only").split()[0]
    assert "seed: 13" in flows.clone.run("git", "show", f"{commit}:params.yaml")


def test_a_wrong_override_is_one_line(flows: House) -> None:
    run = flows.start("pipeline/pipeline", options=FORECAST | {"overrides": ["forecast.train.epochs=-3"]})
    assert run.wait() == "FAILED"
    assert "forecast.train.epochs: found -3; allowed: " in run.message()

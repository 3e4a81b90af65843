"""A search over params on real servers: a table, a picture, one command that applies the best; stopped, it goes on."""

from __future__ import annotations

import csv
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from typing import Any

import pytest

from flows.execution.worktree import worktree
from tests.pipeline.conftest import Clone

from .house import House, Run, stage_processes, wait_until

pytestmark = [pytest.mark.system, pytest.mark.slow]
ALL_OVER = 15.0  # seconds after which no process of a stage may be left


def trials(run: Run) -> dict[str, tuple[str, list[str]]]:
    """The state and the params of each trial's flow run, by its name."""
    found = run.house.post("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run.id]}}})
    return {one["name"]: (one["state_name"], one["parameters"]["params"]) for one in found}


def table(flows: House, study: str) -> list[dict[str, str]]:
    path = flows.clone.folder / ".prefect" / "studies" / study / "trials.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mlflow_tags(flows: House) -> dict[str, dict[str, str]]:
    """The tags of each run in the clone's store, by the run's id."""
    tags: dict[str, dict[str, str]] = {}
    with sqlite3.connect(flows.clone.folder / "mlflow.db") as store:
        for run, key, value in store.execute("select run_uuid, key, value from tags"):
            tags.setdefault(run, {})[key] = value
    return tags


def status_of(flows: House, study: str) -> str:
    """The status that MLflow has of a study's run."""
    (run,) = [run for run, tags in mlflow_tags(flows).items() if tags.get("unroll.study") == study]
    with sqlite3.connect(flows.clone.folder / "mlflow.db") as store:
        return str(store.execute("select status from runs where run_uuid = ?", [run]).fetchone()[0])


def test_a_search_ends_with_the_best_trial_which_one_command_applies(flows: House) -> None:
    options: dict[str, Any] = {
        "task": "forecast",
        "search": ["forecast.train.learning_rate=[0.000001, 0.01]", "forecast.model.hidden_size=[8]"],
        "method": "grid",
        "parallel": 2,
        "where": "here",
        "study": "rates",
    }
    before = flows.clone.run("git", "status", "--porcelain")
    run = flows.start("tune/tune", options=options)
    assert run.wait(seconds=400) == "COMPLETED", run.message()
    assert flows.clone.run("git", "status", "--porcelain") == before
    assert trials(run) == {
        f"rates-00{number}": (
            "Completed",
            [f"forecast.train.learning_rate={rate}", "forecast.model.hidden_size=8"],
        )
        for number, rate in enumerate(("1e-06", "0.01"))
    }
    # A thousandth of a thousandth learns nothing, so the other is the best.
    poor, best = table(flows, "rates")
    assert 0 < float(best["objective"]) < float(poor["objective"])
    artifacts = run.artifacts()
    assert (
        f"| **1** | 0.01 | 8 | **{float(best['objective']):.6g}** | 1 | complete | `rates-001` |" in artifacts["trials"]
    )
    assert "dvc exp apply rates-001" in artifacts["trials"]
    assert artifacts["trials-plot"].startswith("**trials**\n\n![trials](data:image/webp;base64,")
    assert "dvc exp apply rates-001" in run.message()

    tags = mlflow_tags(flows)
    (study,) = [one for one, has in tags.items() if has.get("unroll.study") == "rates"]
    assert {has["unroll.trial"] for has in tags.values() if has.get("mlflow.parentRunId") == study} == {
        "rates-000",
        "rates-001",
    }

    again = flows.start("tune/tune", options=options)
    assert again.wait() == "COMPLETED"
    assert trials(again) == {}
    assert again.message() == run.message()
    other = flows.start("tune/tune", options={**options, "seed": 2})
    assert other.wait() == "FAILED"
    assert other.message() == "study rates: begun with seed 1; found 2; allowed: the same value, or another name"

    with worktree(flows.clone.folder, "HEAD") as folder:  # as a checkout of somebody else's
        beside = Clone(folder)
        # It complains of other tasks, which have never run here.
        subprocess.run([sys.executable, "-m", "dvc", "exp", "apply", "rates-001"], cwd=folder, capture_output=True)
        changed = beside.run("git", "diff", "--unified=0", "params.yaml").splitlines()
        assert {"+    learning_rate: 0.01", "+    hidden_size: 8"} < set(changed)
        assert beside.repro("train@forecast") == []


@pytest.mark.parametrize("end", ["cancel", "interrupt", "kill"])
def test_a_search_that_is_stopped_leaves_no_process_and_goes_on(flows: House, end: str) -> None:
    options: dict[str, Any] = {
        "task": "forecast",
        "search": ["forecast.train.learning_rate=log(1e-4, 1e-1)"],
        "trials": 2,
        "parallel": 2,
        "where": "here",
        "study": f"stopped-{end}",
        # Long enough to be met at work, and trainings of its own.
        "overrides": [f"forecast.train.{key}" for key in ("epochs=200", "patience=200", f"seed={len(end)}")],
    }

    shutil.rmtree(flows.clone.folder / ".resume", ignore_errors=True)

    def training() -> bool:
        commands = [" ".join(process.cmdline()) for process in stage_processes(flows.clone.folder)]
        saved = list((flows.clone.folder / ".resume").glob("*/checkpoint.safetensors"))
        return len(saved) == sum("-m stages.train" in command for command in commands) == 2

    run = flows.start("tune/tune", options=options)
    wait_until(training, "two trainings at work")
    since = time.monotonic()
    if end == "cancel":
        run.cancel()
    else:
        run.process().send_signal(signal.SIGINT if end == "interrupt" else signal.SIGKILL)
    wait_until(lambda: not stage_processes(flows.clone.folder), "no process of a stage", seconds=ALL_OVER)
    assert time.monotonic() - since < ALL_OVER
    assert run.wait() == ("CANCELLED" if end == "cancel" else "CRASHED")
    wait_until(lambda: status_of(flows, f"stopped-{end}") == "KILLED", "a run that is closed", seconds=ALL_OVER)
    suggested = {name: params for name, (_, params) in trials(run).items()}
    assert len(suggested) == 2

    again = flows.start("tune/tune", options=options)
    assert again.wait(seconds=400) == "COMPLETED", again.message()
    assert status_of(flows, f"stopped-{end}") == "FINISHED"
    assert trials(again) == {name: ("Completed", params) for name, params in suggested.items()}
    assert [row["epochs"] for row in table(flows, f"stopped-{end}")] == ["200", "200"]

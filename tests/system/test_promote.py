"""A person decides on a champion, on real servers that are restarted while the flow waits."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow import MlflowClient

from .house import House, Run, wait_until

pytestmark = [pytest.mark.system, pytest.mark.slow]
FORECAST = {"tasks": ["forecast"], "where": "here"}
MODEL = "forecaster"
PATIENCE = 600.0  # seconds; a minute on an idle machine
ENDED_OR_WAITING = ("PAUSED", "COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def registered(flows: House) -> MlflowClient:
    """The registry with two versions that no gate has promoted: the second one is the challenger."""
    for overrides in ([], ["forecast.train.seed=7"]):
        run = flows.start("pipeline/pipeline", options={**FORECAST, "overrides": overrides})
        assert run.wait(seconds=PATIENCE) == "COMPLETED", run.message()
    return MlflowClient(f"sqlite:///{flows.clone.folder / 'mlflow.db'}")


@pytest.fixture
def store(registered: MlflowClient) -> MlflowClient:
    """The same, with the first version as the champion."""
    registered.set_registered_model_alias(MODEL, "champion", "1")
    return registered


def shown(flows: House, **candidate: Any) -> Run:
    """A run of the flow that waits for its form, or has ended without."""
    run = flows.start("promote/promote", candidate={"task": "forecast", **candidate})
    wait_until(lambda: run.state() in ENDED_OR_WAITING, "a form, or the end", seconds=PATIENCE)
    return run


def fill_in(flows: House, run: Run, **form: str) -> str:
    """What the form in the UI sends; returns what the server makes of it."""
    assert run.state() == "PAUSED", run.message()
    return str(flows.post(f"flow_runs/{run.id}/resume", {"run_input": form})["status"])


def decide(flows: House, run: Run, **form: str) -> None:
    """Fill in the form once the server has it: the run is suspended a moment before."""
    wait_until(lambda: fill_in(flows, run, **form) == "ACCEPT", "a form that is accepted")


def champion(store: MlflowClient) -> str:
    return str(store.get_model_version_by_alias(MODEL, "champion").version)


def test_a_first_champion_is_approved_although_all_servers_were_restarted_meanwhile(flows, registered):
    registered.delete_registered_model_alias(MODEL, "champion")
    run = shown(flows, version="1")
    report = run.artifacts()["report"]
    assert "would be the first champion" in report
    assert "![forecasts](data:image/webp;base64," in report
    flows.servers.down()
    flows.servers.up()
    assert fill_in(flows, run, decision="perhaps", by="Ada") == "REJECT"
    decide(flows, run, decision="approve", by="Ada", reason="it is the first")
    assert run.wait(seconds=PATIENCE) == "COMPLETED", run.message()
    assert run.message() == "forecaster version 1 is champion, no champion before it; approved by Ada"
    assert champion(registered) == "1"
    tags = registered.get_model_version(MODEL, "1").tags
    assert (tags["unroll.decision"], tags["unroll.reason"]) == ("champion", "approved by Ada: it is the first")
    assert tags["unroll.previous_champion"] == "none"
    assert run.id in tags["unroll.decided_run"]


def test_a_run_with_params_of_its_own_makes_a_challenger_and_no_champion(registered):
    tags = registered.get_model_version(MODEL, "2").tags
    assert tags["unroll.decision"] == "challenger_overrides"
    assert "trained with params set for this run only (forecast.train.seed=7)" in tags["unroll.reason"]


def test_a_refusal_stands_on_the_version_and_moves_nothing(flows, store):
    run = shown(flows)
    assert "champion, version 1" in run.artifacts()["report"]
    decide(flows, run, decision="reject", by="Bob", reason="no better")
    assert run.wait(seconds=PATIENCE) == "COMPLETED"
    assert run.facts()["state"]["name"] == "Rejected"
    tags = store.get_model_version(MODEL, "2").tags
    assert (tags["unroll.decision"], tags["unroll.reason"]) == ("challenger_lost", "rejected by Bob: no better")
    assert champion(store) == "1"


def test_who_approves_beside_a_champion_that_has_gone_meanwhile_changes_nothing(flows, store):
    run = shown(flows)
    store.set_registered_model_alias(MODEL, "champion", "2")
    decide(flows, run, decision="approve", by="Bob")
    assert run.wait(seconds=PATIENCE) == "FAILED"
    assert "the champion is now version 2, not version 1 as in the comparison" in run.message()
    assert champion(store) == "2"


def test_where_there_is_nothing_to_decide_the_run_says_so(flows, store):
    run = shown(flows, version="1")
    assert (run.state(), run.message()) == ("COMPLETED", "forecaster version 1 is already the champion")
    run = shown(flows, version="99")
    assert (run.state(), run.message()) == ("FAILED", "unroll: promotion: forecaster: there is no version 99")

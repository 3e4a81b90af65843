"""A person decides on a champion, on real servers that are restarted while the flow waits."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from .house import House, Run, wait_until

pytestmark = pytest.mark.system
FORECAST = {"tasks": ["forecast"], "where": "here"}
MODEL = "forecaster"
ENDED_OR_WAITING = ("PAUSED", "COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def store(flows: House) -> MlflowClient:
    """The registry with two versions that no gate has promoted."""
    for overrides in ([], ["forecast.train.seed=7"]):
        run = flows.start("pipeline/pipeline", choice={**FORECAST, "overrides": overrides})
        assert run.wait() == "COMPLETED", run.message()
    return MlflowClient(f"sqlite:///{flows.clone.folder / 'mlflow.db'}")


def shown(flows: House, **candidate: Any) -> Run:
    """A run of the flow that waits for its form, or has ended without."""
    run = flows.start("promote/promote", candidate={"task": "forecast", **candidate})
    wait_until(lambda: run.state() in ENDED_OR_WAITING, "a form, or the end", seconds=240)
    return run


def fill_in(flows: House, run: Run, **form: str) -> dict[str, Any]:
    """What the form in the UI sends."""
    return dict(flows.post(f"flow_runs/{run.id}/resume", {"run_input": form}))


def champion(store: MlflowClient) -> str | None:
    try:
        return str(store.get_model_version_by_alias(MODEL, "champion").version)
    except MlflowException:
        return None


def test_a_champion_is_approved_replaced_and_refused(flows, store):
    # The first one, with all servers and workers restarted while the person thinks.
    first = shown(flows, version="1")
    assert first.state() == "PAUSED", first.message()
    report = first.artifacts()["report"]
    assert "would be the first champion" in report
    assert "![forecasts](data:image/webp;base64," in report
    flows.servers.down()
    flows.servers.up()
    refused = fill_in(flows, first, decision="perhaps", by="Ada")
    assert refused["status"] == "REJECT"
    assert first.state() == "PAUSED"
    assert fill_in(flows, first, decision="approve", by="Ada", reason="it is the first")["status"] == "ACCEPT"
    assert first.wait() == "COMPLETED", first.message()
    assert first.message() == "forecaster version 1 is champion, no champion before it; approved by Ada"
    assert champion(store) == "1"
    tags = store.get_model_version(MODEL, "1").tags
    assert tags["unroll.verdict"] == "champion: approved by Ada: it is the first"
    assert tags["unroll.previous_champion"] == "none"
    assert first.id in tags["unroll.decided_run"]

    # What is champion already needs no decision; what does not exist gets none.
    again = shown(flows, version="1")
    assert (again.state(), again.message()) == ("COMPLETED", "forecaster version 1 is the champion already")
    unknown = shown(flows, version="99")
    assert unknown.state() == "FAILED"
    assert unknown.message() == "unroll: promotion: forecaster: there is no version 99"

    # The challenger beside the champion, twice: the second decision finds that the first one has changed the champion.
    rivals = [shown(flows), shown(flows)]
    assert "champion, version 1" in rivals[0].artifacts()["report"]
    fill_in(flows, rivals[0], decision="approve", by="Ada")
    assert rivals[0].wait() == "COMPLETED", rivals[0].message()
    assert champion(store) == "2"
    assert store.get_model_version(MODEL, "2").tags["unroll.previous_champion"] == "1"
    fill_in(flows, rivals[1], decision="approve", by="Bob")
    assert rivals[1].wait() == "FAILED"
    assert "the champion is version 2 by now, not 1 as it was shown" in rivals[1].message()

    # A refusal stands on the version, and moves nothing.
    back = shown(flows, version="1")
    fill_in(flows, back, decision="reject", by="Bob", reason="older")
    assert back.wait() == "COMPLETED"
    assert back.facts()["state"]["name"] == "Rejected"
    assert store.get_model_version(MODEL, "1").tags["unroll.verdict"] == "rejected by Bob: older"
    assert champion(store) == "2"

"""prefect.yaml names flows that a worker can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import Flow, load_flow_from_entrypoint

from flows.options import PipelineOptions

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOYMENTS = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("entrypoint", sorted({deployment["entrypoint"] for deployment in DEPLOYMENTS}))
def test_the_flow_of_a_deployment_is_found_in_the_checkout(entrypoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    found: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    assert found.name == entrypoint.rpartition(":")[2]


def test_the_schedule_starts_nights_and_is_switched_off() -> None:
    (schedule,) = next(entry for entry in DEPLOYMENTS if entry["name"] == "pipeline")["schedules"]
    options = PipelineOptions.model_validate(schedule["parameters"]["options"])
    assert (options.refresh, options.commit, options.tasks) == (True, False, PipelineOptions().tasks)
    assert not schedule["active"]

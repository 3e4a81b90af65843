"""Of the scheduled runs that were missed, the newest of each schedule is left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from flows.server.missed import drop_missed

PIPELINE, FORECAST = uuid4(), uuid4()


class StandIn(SyncPrefectClient):
    """A client of a server on which some runs are overdue, the newest first."""

    def __init__(self, *runs: FlowRun) -> None:
        self.runs = runs
        self.deleted: list[UUID] = []

    def read_flow_runs(self, **filters: Any) -> list[FlowRun]:
        assert filters["deployment_filter"].name.any_ == ["pipeline", "forecast"]
        assert filters["sort"] == "EXPECTED_START_TIME_DESC"
        return list(self.runs)

    def delete_flow_run(self, flow_run_id: UUID) -> None:
        self.deleted.append(flow_run_id)


def run(day: int, deployment: Any = PIPELINE, *, planned: bool = True, **options: bool) -> FlowRun:
    return FlowRun.model_validate(
        {
            "flow_id": uuid4(),
            "deployment_id": deployment,
            "auto_scheduled": planned,
            "expected_start_time": datetime(2026, 12, day, 2, tzinfo=UTC),
            "parameters": {"options": options},
        }
    )


def test_the_newest_run_of_each_schedule_is_left() -> None:
    nights = [run(day, refresh=True) for day in (3, 2, 1)]
    client = StandIn(nights[0], run(3, FORECAST), nights[1], run(2, commit=True), nights[2])
    (line,) = drop_missed(client, ["pipeline", "forecast"])
    assert client.deleted == [nights[1].id, nights[2].id]
    assert line == (
        "3 scheduled runs were missed while no worker ran; only the newest, of 2026-12-03 02:00 UTC, starts now"
    )


def test_a_run_that_a_person_has_asked_for_stays() -> None:
    client = StandIn(run(3), run(2, planned=False), run(1, planned=False))
    assert drop_missed(client, ["pipeline", "forecast"]) == []
    assert client.deleted == []

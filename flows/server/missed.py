"""Scheduled runs that are overdue because no worker ran, for instance while the machine was off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort


def drop_missed(client: SyncPrefectClient, deployments: Sequence[str]) -> list[str]:
    """Delete the overdue runs that schedules have planned, but for the newest of each schedule, which makes up for the
    others: a worker would start all of them at once. Returns a line for each schedule that has missed several.
    """
    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)}),
    )
    runs = client.read_flow_runs(
        flow_run_filter=overdue,
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=list(deployments))),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
    )
    by_schedule: dict[Any, list[FlowRun]] = {}
    for run in runs:
        if run.auto_scheduled:
            by_schedule.setdefault((run.deployment_id, json.dumps(run.parameters, sort_keys=True)), []).append(run)
    lines = []
    for newest, *older in by_schedule.values():
        for run in older:
            client.delete_flow_run(run.id)
        if older:
            lines.append(
                f"{len(older) + 1} scheduled runs were missed while no worker ran; only the newest, of "
                f"{newest.expected_start_time:%Y-%m-%d %H:%M} UTC, starts now"
            )
    return lines

"""Work pools, deployments and automations of prefect.yaml, on the server of PREFECT_API_URL.

    python -m flows.server.deploy

A schedule that somebody has switched on stays on. Of the runs that it has missed, only the newest remains.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists

from .address import check_server
from .automations import create_automations, declared_deployments
from .missed import drop_missed
from .servers import ServersError

PREFECT_FILE = Path("prefect.yaml")


def create_pools(client: SyncPrefectClient, file: Path = PREFECT_FILE) -> None:
    """Create the pools of prefect.yaml, or bring their templates up to date. What a user set beside that stays."""
    for pool in yaml.safe_load(file.read_text(encoding="utf-8"))["work_pools"]:
        template = json.loads((file.parent / pool["template"]).read_text(encoding="utf-8"))
        facts = {"description": pool["description"], "base_job_template": template}
        try:
            client.create_work_pool(WorkPoolCreate(name=pool["name"], type=pool["type"], **facts))
        except ObjectAlreadyExists:
            client.update_work_pool(pool["name"], WorkPoolUpdate(**facts))


def active_schedules(client: SyncPrefectClient) -> set[tuple[str, str]]:
    """The schedules that are on, as deployment and slug."""
    return {
        (deployment.name, schedule.slug)
        for deployment in client.read_deployments()
        for schedule in deployment.schedules
        if schedule.active and schedule.slug
    }


def activate_schedules(client: SyncPrefectClient, chosen: set[tuple[str, str]]) -> None:
    """Switch schedules on, where they are still declared: `prefect deploy` sets them to what prefect.yaml says."""
    for deployment in client.read_deployments():
        for schedule in deployment.schedules:
            if (deployment.name, schedule.slug) in chosen and not schedule.active:
                client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def main() -> None:
    """The command line."""
    if address := os.environ.get("PREFECT_API_URL"):
        try:
            check_server(address)
        except ServersError as error:
            sys.exit(f"unroll: servers: {error}")
    with get_client(sync_client=True) as client:
        create_pools(client)
        create_automations(client, PREFECT_FILE)
        chosen = active_schedules(client)
        for line in drop_missed(client, [entry["name"] for entry in declared_deployments(PREFECT_FILE)]):
            print(f"unroll: {line}", flush=True)
        done = subprocess.run([sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"], check=False)
        activate_schedules(client, chosen)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()

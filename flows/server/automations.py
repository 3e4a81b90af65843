"""Automations on the server: mark runs whose process has disappeared as Crashed, and call a webhook when a run fails.

    UNROLL_WEBHOOK=https://… python -m flows.server.deploy

`flows.server.deploy` creates both. Without UNROLL_WEBHOOK it keeps the second one as it is, and an empty UNROLL_WEBHOOK
removes it. The webhook receives JSON by POST: flow, run, state, message, link.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict
from pydantic import SecretStr

WEBHOOK = "UNROLL_WEBHOOK"

ZOMBIES = "unroll: runs that have died unseen are Crashed"
FAILURES = "unroll: a failed run calls the webhook"

_BLOCK = "unroll-failures"
_SILENCE = timedelta(seconds=90)  # three heartbeats; flows/pools/process.json says how often there is one
_ENDED_BADLY = frozenset(f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut"))
_ORDERED = frozenset({"stage"})  # the run that ordered it reports its failure
_WAITING = frozenset({"promote"})  # has no process, and no heartbeat, while it waits for a person

_RUNS = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})

# In Jinja; `tojson` escapes whatever a message holds.
_PAYLOAD = """{{ {
  "flow": flow.name,
  "run": flow_run.name,
  "state": flow_run.state.name,
  "message": flow_run.state.message,
  "link": flow_run | ui_url
} | tojson }}"""


def create_automations(client: SyncPrefectClient, file: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Make the automations, or bring them up to date, for the flows that the prefect.yaml in `file` deploys."""
    _put(client, zombies(flows_of(file, without=_WAITING)))
    block: Any  # the number of the webhook's block
    match environment.get(WEBHOOK):
        case "":
            for automation in client.read_automations_by_name(FAILURES):
                client.delete_automation(automation.id)
            with suppress(ObjectNotFound):
                client.delete_block_document(client.read_block_document_by_name(_BLOCK, "webhook").id)
            return
        case None:  # a restart of the servers takes no alert away
            try:
                block = client.read_block_document_by_name(_BLOCK, "webhook").id
            except ObjectNotFound:
                return
        case address:
            headers = SecretDict({"Content-Type": "application/json"})
            webhook = Webhook(url=SecretStr(address), headers=headers, allow_private_urls=True)
            block = webhook.save(_BLOCK, overwrite=True)
    _put(client, failures(flows_of(file, without=_ORDERED), block))


def flows_of(file: Path, *, without: Collection[str]) -> list[str]:
    """The names of the flows that prefect.yaml deploys, sorted, but for some."""
    return sorted({entry["entrypoint"].rpartition(":")[2] for entry in declared_deployments(file)} - set(without))


def declared_deployments(file: Path) -> list[dict[str, Any]]:
    """The deployments of prefect.yaml."""
    found: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    return found


def zombies(flows: Sequence[str]) -> AutomationCore:
    """A run of these flows that was alive and then says nothing for a while is over, whatever became of its machine."""
    return AutomationCore(
        name=ZOMBIES,
        description="A flow run without a heartbeat for 90 seconds has lost its process and its worker.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},  # any event of the run: its next heartbeat, or its end by whatever name
            match=_RUNS,
            match_related=_of(flows),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                force=False,
                message="no heartbeat for 90 s: its process and its worker are gone, or cannot reach the server",
            )
        ],
    )


def failures(flows: Sequence[str], block: Any) -> AutomationCore:
    """A run of these flows that ended badly calls the webhook of a block."""
    return AutomationCore(
        name=FAILURES,
        description=f"Set by {WEBHOOK} when the flows are deployed.",
        trigger=EventTrigger(
            expect=set(_ENDED_BADLY),
            match=_RUNS,
            match_related=_of(flows),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[CallWebhook(block_document_id=block, payload=_PAYLOAD)],
    )


def _of(flows: Sequence[str]) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": list(flows)})


def _put(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Make an automation, or change it where it is another; one that somebody has switched off stays off.

    To change it makes the server forget which runs it was watching, so it is left alone where nothing is new.
    """
    for known in client.read_automations_by_name(automation.name):
        wanted = automation.model_copy(update={"enabled": known.enabled})
        if AutomationCore.model_validate(known.model_dump(include=set(AutomationCore.model_fields))) != wanted:
            client.update_automation(known.id, wanted)
        return
    client.create_automation(automation)

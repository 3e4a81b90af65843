"""What the server does by itself: a webhook for failed runs, an end for runs that have died unseen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.events import Event

from tests.documentation import REPOSITORY

from .house import House, Run, wait_until

pytestmark = [pytest.mark.system, pytest.mark.slow]
SILENCE = 90  # seconds without a sign of life, after which a run is called Crashed
QUIET_SECONDS = 6  # in which a webhook that is called at all is called


@contextmanager
def listener(received: list[dict[str, Any]]) -> Iterator[str]:
    """An HTTP server that keeps what it is sent; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append({"type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/failed"
    server.shutdown()


def deploy(flows: House, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.server.deploy"],
        cwd=flows.clone.folder,
        env={**flows.environment, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def automations(flows: House) -> list[str]:
    return sorted(automation["name"] for automation in flows.post("automations/filter", {}))


@pytest.fixture(scope="module")
def silent(flows: House) -> Run:
    """A run of the pipeline whose heart has beaten once, and of which nothing more is heard."""
    deployed = flows.get("deployments/name/pipeline/pipeline")
    body = {"flow_id": deployed["flow_id"], "state": {"type": "RUNNING"}, "deployment_id": deployed["id"]}
    run = Run(flows, flows.post("flow_runs/", body)["id"])
    related = {
        "prefect.resource.id": f"prefect.flow.{deployed['flow_id']}",
        "prefect.resource.role": "flow",
        "prefect.resource.name": "pipeline",
    }
    beat = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        "related": [related],
    }
    httpx.post(f"{flows.servers.prefect}/api/events", json=[beat], timeout=30).raise_for_status()
    return run


def test_a_failed_run_calls_the_webhook_once_and_others_never(flows, silent):
    received: list[dict[str, Any]] = []
    with listener(received) as address:
        deploy(flows, UNROLL_WEBHOOK=address)
        deploy(flows, UNROLL_WEBHOOK=address)  # a second time changes nothing
        deploy(flows)  # and without the address it stays
        assert len(automations(flows)) == len(set(automations(flows))) == 2
        good = flows.start("pipeline/pipeline", options={"tasks": ["forecast"], "up_to": "download", "where": "here"})
        assert good.wait() == "COMPLETED", good.message()
        time.sleep(QUIET_SECONDS)
        assert received == []
        bad = flows.start(
            "pipeline/pipeline",
            options={
                "tasks": ["forecast"],
                "up_to": "preprocess",
                "where": "here",
                "overrides": ["forecast.prepare.test_days=100000"],
            },
        )
        assert bad.wait() == "FAILED"
        wait_until(lambda: received, "a call of the webhook", seconds=60)
        (told,) = received
        assert (told["type"], told["flow"], told["state"]) == ("application/json", "pipeline", "Failed")
        assert told["run"] == bad.facts()["name"]
        assert told["message"] == bad.message()
        assert told["link"].endswith(f"/runs/flow-run/{bad.id}")
        assert told["link"].startswith(flows.servers.prefect)
    deploy(flows, UNROLL_WEBHOOK="")
    assert automations(flows) == ["unroll: runs that have died unseen are Crashed"]


def test_the_automation_of_the_docs_tells_of_a_night_whose_source_is_away(flows, tmp_path):
    """As `docs/nights.md` has it: with the block of the webhook for failed runs."""
    page = (REPOSITORY / "docs" / "nights.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(name: a night.*?)```", page, re.S)
    received: list[dict[str, Any]] = []
    with listener(received) as address:
        deploy(flows, UNROLL_WEBHOOK=address)
        (failures,) = [one for one in flows.post("automations/filter", {}) if "webhook" in one["name"]]
        block = failures["actions"][0]["block_document_id"]
        file = tmp_path / "automation.yaml"
        file.write_text(text.replace("block_document_id: ID", f"block_document_id: {block}"), encoding="utf-8")
        create = [sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(file)]
        subprocess.run(create, env=flows.environment, check=True, capture_output=True, timeout=120)
        time.sleep(QUIET_SECONDS)  # until the server has heard of it
        payload = {"decision": "held back", "source": "http://host/days.csv: no answer", "drift": "", "scores": ""}
        for state in ("unchanged", "away"):
            resource = {"prefect.resource.id": "unroll.model.x", "unroll.task": "forecast", "unroll.source": state}
            event = Event(event="unroll.night.decided", resource=resource, payload=payload)
            sent = httpx.post(f"{flows.servers.prefect}/api/events", json=[event.model_dump(mode="json")], timeout=30)
            sent.raise_for_status()
        wait_until(lambda: received, "a call of the webhook", seconds=60)
        time.sleep(QUIET_SECONDS)
    (told,) = received
    assert {key: told[key] for key in ("task", "source", "decision")} == {
        "task": "forecast",
        "source": "http://host/days.csv: no answer",
        "decision": "held back",
    }
    (mine,) = [one["id"] for one in flows.post("automations/filter", {}) if one["name"] == "a night without its source"]
    httpx.delete(f"{flows.servers.prefect}/api/automations/{mine}").raise_for_status()
    deploy(flows, UNROLL_WEBHOOK="")


def test_a_long_run_lives_on_however_it_was_started(flows, silent):
    deploy(flows)
    overrides = [f"forecast.train.{key}" for key in ("epochs=100000", "patience=100000")]
    options = {
        "tasks": ["forecast"],
        "up_to": "train",
        "where": "here",
        "overrides": [*overrides, "forecast.train.seed=21"],
    }
    ordered = flows.start("pipeline/pipeline", options=options)
    settings = [f"--set={setting}" for setting in (*overrides, "forecast.train.seed=22")]
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "flows.run", "forecast", "--up-to=train", *settings],
        cwd=flows.clone.folder,
        env=flows.environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        runs = [ordered, wait_until(lambda: running_by_hand(flows, without=[ordered, silent]), "the second run")]
        for run in runs:
            run.wait_for_task("train@forecast", seconds=240)
        deadline = time.monotonic() + 2 * SILENCE
        while time.monotonic() < deadline:
            assert [run.state() for run in runs] == ["RUNNING", "RUNNING"]
            time.sleep(1)
    finally:
        by_hand.terminate()
        ordered.cancel()
    assert [run.wait() for run in runs] == [
        "CANCELLED",
        "CRASHED",
    ]  # Prefect calls a flow crashed that Ctrl-C has ended
    by_hand.wait(60)


def running_by_hand(flows: House, *, without: list[Run]) -> Run | None:
    """The run that no worker has started."""
    asked = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}, "flows": {"name": {"any_": ["pipeline"]}}}
    found = [run["id"] for run in flows.post("flow_runs/filter", asked)]
    return next((Run(flows, number) for number in found if number not in {run.id for run in without}), None)


def test_a_run_that_has_died_unseen_is_crashed(flows, silent):
    wait_until(lambda: silent.state() == "CRASHED", "an end of the silent run", seconds=180)
    assert "no heartbeat for 90 s" in silent.message()


def test_a_schedule_that_is_on_stays_on_when_flows_are_deployed_again(flows: House) -> None:
    for active in (True, False):
        deployed = flows.get("deployments/name/pipeline/pipeline")
        (schedule,) = deployed["schedules"]
        address = f"{flows.servers.prefect}/api/deployments/{deployed['id']}/schedules/{schedule['id']}"
        httpx.patch(address, json={"active": active}, timeout=30).raise_for_status()
        deploy(flows)
        (schedule,) = flows.get("deployments/name/pipeline/pipeline")["schedules"]
        assert (schedule["slug"], schedule["active"]) == ("nightly", active)


def test_a_schedule_that_is_on_plans_its_runs_and_starts_them(flows: House) -> None:
    """SQLAlchemy 2.1 once made the scheduler fail each minute, in the server's log alone."""
    deployed = flows.get("deployments/name/pipeline/pipeline")
    (schedule,) = deployed["schedules"]
    address = f"{flows.servers.prefect}/api/deployments/{deployed['id']}/schedules"
    # The scheduler plans once a minute, and only what is to come.
    every_other_minute = {"interval": 120, "anchor_date": datetime.now(UTC).isoformat(), "timezone": "UTC"}
    options = {"options": {"tasks": ["forecast"], "up_to": "download", "where": "here"}}
    asked = [{"schedule": every_other_minute, "active": True, "slug": "soon", "parameters": options}]
    made = httpx.post(address, json=asked, timeout=30).raise_for_status().json()
    try:
        httpx.patch(f"{address}/{schedule['id']}", json={"active": True}, timeout=30).raise_for_status()
        of_it = {"flow_runs": {"deployment_id": {"any_": [deployed["id"]]}, "tags": {"all_": ["auto-scheduled"]}}}

        def planned() -> list[dict[str, Any]]:
            """All planned runs, once nights are among them."""
            runs = sorted(flows.post("flow_runs/filter", of_it), key=lambda run: run["expected_start_time"])
            return runs if any(at_two(run) for run in runs) else []

        def at_two(run: dict[str, Any]) -> bool:
            return "T02:00:00" in run["expected_start_time"]

        first = next(run for run in wait_until(planned, "the nights", seconds=150) if not at_two(run))
        assert Run(flows, first["id"]).wait() == "COMPLETED"
    finally:
        httpx.delete(f"{address}/{made[0]['id']}", timeout=30).raise_for_status()
        httpx.patch(f"{address}/{schedule['id']}", json={"active": False}, timeout=30).raise_for_status()

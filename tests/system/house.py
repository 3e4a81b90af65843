"""A clone with tiny params, its servers and workers, and what a test asks of them. Real processes on free ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import psutil

from benchmarks.machine import free_port
from flows.server.servers import Servers
from tests.pipeline.conftest import Clone, commit, make_clone

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 120, poll: float = 0.2) -> Any:
    """Wait for something true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(poll)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@dataclass
class Run:
    """A flow run on the server."""

    house: House
    id: str

    def facts(self) -> dict[str, Any]:
        return self.house.get(f"flow_runs/{self.id}")

    def state(self) -> str:
        return str(self.facts()["state_type"])

    def message(self) -> str:
        return str(self.facts()["state"]["message"])

    def wait(self, *, seconds: float = 240) -> str:
        """Wait for the end; returns the type of the final state."""
        return str(wait_until(lambda: (s := self.state()) in FINAL and s, f"the end of {self.id}", seconds=seconds))

    def tasks(self) -> dict[str, str]:
        """The present name of each task's state, by the task's name."""
        runs = self.house.post("task_runs/filter", {"flow_runs": {"id": {"any_": [self.id]}}})
        return {run["name"]: run["state_name"] for run in runs}

    def task_messages(self) -> dict[str, str]:
        runs = self.house.post("task_runs/filter", {"flow_runs": {"id": {"any_": [self.id]}}})
        return {run["name"]: run["state"]["message"] or "" for run in runs}

    def logs(self) -> str:
        found = self.house.post("logs/filter", {"logs": {"flow_run_id": {"any_": [self.id]}}, "limit": 200})
        return "\n".join(entry["message"] for entry in found)

    def logs_of_tasks(self) -> list[str]:
        """The messages that belong to a task, as the page of the flow run lists them."""
        found = self.house.post("logs/filter", {"logs": {"flow_run_id": {"any_": [self.id]}}, "limit": 200})
        return [entry["message"] for entry in found if entry["task_run_id"]]

    def artifacts(self) -> dict[str, Any]:
        """The data of each artifact, by its key."""
        found = self.house.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [self.id]}}})
        return {artifact["key"]: artifact["data"] for artifact in found}

    def cancel(self) -> None:
        """What the button in the UI does."""
        state = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": False}
        self.house.post(f"flow_runs/{self.id}/set_state", state)

    def process(self) -> psutil.Process:
        """The process of the flow, which a worker has started on this machine."""
        for process in psutil.process_iter(["cmdline"]):
            engine = "prefect.engine" in " ".join(process.info["cmdline"] or [])
            if engine and process.environ().get("PREFECT__FLOW_RUN_ID") == self.id:
                return process
        raise AssertionError(f"no process of the flow run {self.id}")

    def wait_for_task(self, name: str, state: str = "Running", *, seconds: float = 120) -> None:
        wait_until(lambda: self.tasks().get(name) == state, f"{name} {state}", seconds=seconds)


@dataclass
class House:
    """A clone with servers of its own."""

    clone: Clone
    servers: Servers
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, **self.servers.environment, "PATH": path, "PYTHONPATH": str(self.clone.folder)}

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        """A request; the server answers 503 while another process writes its SQLite file, and then is asked again."""
        for _ in range(10):
            answer = httpx.request(method, f"{self.servers.prefect}/api/{path}", timeout=30, **body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        return answer.raise_for_status().json()

    def start(self, deployment: str, **parameters: Any) -> Run:
        """Start a flow run of a deployment, as the UI does."""
        found = self.get(f"deployments/name/{deployment}")
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return Run(self, self.post(f"deployments/{found['id']}/create_flow_run", body)["id"])

    def prefect(self, *arguments: str) -> str:
        """A command of Prefect's; returns what it printed."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(
            command, cwd=self.clone.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def worker(self, pool: str, checkout: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker of a pool with a checkout of its own; ended with the house."""
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
        name = f"{checkout.name}-{len(self.workers)}"
        variables = {**self.environment, "PYTHONPATH": "", "PREFECT_WORKER_QUERY_SECONDS": "1", **environment}
        with (self.clone.folder / ".prefect" / f"worker-{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--name", name],
                cwd=checkout,
                env={**variables, "UNROLL_CHECKOUT": str(checkout)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.workers.append(process)
        address = f"work_pools/{pool}/workers/filter"
        wait_until(lambda: any(w["name"] == name for w in self.post(address, {})), f"worker {name}")
        return process

    def close(self) -> None:
        for worker in self.workers:
            kill_all(worker.pid)
        self.servers.down()


def kill_all(pid: int) -> None:
    """Kill a process and all its children."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for child in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)


def stage_processes(folder: Path) -> list[psutil.Process]:
    """The processes that run stages, `dvc` or supervisors in a folder or below it."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        command = " ".join(process.info["cmdline"] or [])
        below = (process.info["cwd"] or "").startswith(str(folder))
        works = any(word in command for word in ("-m stages.", "-m dvc", "flows.execution.supervisor"))
        if below and works and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@contextmanager
def house(
    folder: Path, change: Callable[[Clone], None] = lambda clone: None, *, postgres_port: int | None = None
) -> Iterator[House]:
    """A new clone in a folder, changed as asked, with Prefect, MLflow and workers for the pools cpu and gpu."""
    folder.mkdir(parents=True, exist_ok=True)
    clone = make_clone(folder)
    change(clone)
    commit(clone)
    servers = Servers(folder, prefect_port=free_port(), mlflow_port=free_port(), postgres_port=postgres_port)
    built = House(clone, servers)
    try:
        with patch.dict(os.environ, {"UNROLL_CHECKPOINT_SECONDS": "1"}):  # so that a short training has something saved
            servers.up()
        yield built
    finally:
        built.close()

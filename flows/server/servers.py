"""A Prefect server, an MLflow server, a page to try the models, and workers, on this machine and bound to 127.0.0.1.

    python -m flows.server.servers up       start what is not running, deploy the flows, print addresses (`make up`)
    python -m flows.server.servers down     stop the servers that `up` started (`make down`)
    python -m flows.server.servers status   what runs, and where

`up` uses the ports 4200, 5000 and 7860 unless UNROLL_PREFECT_PORT, UNROLL_MLFLOW_PORT and UNROLL_DEMO_PORT choose
others; running servers are found on any port. State and logs are in `.prefect/`. The page starts only if Gradio is
installed. If MLFLOW_TRACKING_URI names a server, no MLflow server is started. With UNROLL_BACKEND=postgres
(`make up BACKEND=postgres`) the servers use PostgreSQL: see `backend` and docs/backend.md.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from filelock import FileLock

from stages.progress_bar import busy, tell
from stages.tracking.pages import page
from stages.tracking.private import private_file, private_folder
from stages.tracking.store import make_private, sqlite_uri, store_uri, without_credentials

from ..execution.locks import gpus
from .backend import BackendError, Postgres

_HOST = "127.0.0.1"
_PORTS = {"prefect": "4200", "mlflow": "5000", "postgres": "5442", "demo": "7860"}
_COMMANDS = {"prefect": ["prefect", "server", "start"], "mlflow": ["mlflow", "server", "--workers", "1"]}
_START_SECONDS = 120.0  # for a server to answer: the first start on a slow machine makes its database
_STOP_SECONDS = 15.0
_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_LOG_LINES = 15  # of a server that did not start

_STATE = "servers.json"  # the processes that `up` has started, and where they listen
_BACKEND_NOTE = "backend"  # what the servers that run stand on

# Nothing runs that nobody needs.
_LEAN = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # six processes of 270 MB for the evaluation of language models
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}


class ServersError(RuntimeError):
    """A server cannot be started or reached; the message says which, and where its log lies."""


class Servers:
    """The servers of one checkout."""

    def __init__(
        self,
        root: Path,
        *,
        prefect_port: int,
        mlflow_port: int,
        postgres_port: int | None = None,
        demo_port: int | None = None,
    ) -> None:
        """Servers on these ports; with a port for PostgreSQL on that, without one on sqlite files. The page to try the
        models on is among them where it has a port.
        """
        self.root = root.resolve()
        self.folder = self.root / ".prefect"
        self.prefect = f"http://{_HOST}:{prefect_port}"
        self._store = store_uri(self.root)
        elsewhere = self._store.startswith("http")
        self.mlflow = without_credentials(self._store) if elsewhere else f"http://{_HOST}:{mlflow_port}"
        self._ports = {"prefect": prefect_port} | ({} if elsewhere else {"mlflow": mlflow_port})
        self.demo = f"http://{_HOST}:{demo_port}" if demo_port else None
        self._demo_port = demo_port
        self._backend = Postgres(self.folder, postgres_port) if postgres_port else None
        self._state = self.folder / _STATE

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to talk to these servers."""
        return {
            "PREFECT_API_URL": f"{self.prefect}/api",
            "PREFECT_UI_URL": self.prefect,
            **self.own_database(),
            "UNROLL_MLFLOW_UI": self.mlflow,
            # On PostgreSQL there is no file that stages could open themselves.
            **({"MLFLOW_TRACKING_URI": self.mlflow} if self._backend and "mlflow" in self._ports else {}),
        }

    def up(self) -> None:
        """Start what is not running, and deploy. Raises ServersError where something does not start."""
        private_folder(self.folder)
        with FileLock(self.folder / "servers.lock"):
            running = self.running()
            for name, port in self._ports.items():
                if name not in running:
                    _check_free(name, port)
                elif os.environ.get(variable := _port_variable(name), str(port)) != str(port):
                    raise ServersError(
                        f"{name} already runs on port {port}; run `make down` first, or unset {variable}"
                    )
            self._start_backend(running)
            make_private(self._store)
            for name, port in self._ports.items():
                if name not in running:
                    command = [sys.executable, "-m", *_COMMANDS[name], "--host", _HOST, "--port", str(port)]
                    self._start(name, command, self._server_environment(name), port=port)
            self._wait("prefect", lambda: _answers(f"{self.prefect}/api/health"))
            self._deploy()
            pools = process_pools(self.root)
            for pool in pools:
                if f"worker-{pool}" not in running:
                    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
                    self._start(f"worker-{pool}", command, {"UNROLL_CHECKOUT": str(self.root)})
            if "mlflow" in self._ports:
                self._wait("mlflow", lambda: _answers(f"{self.mlflow}/health"))
            self._start_demo(running)
            for pool in pools:
                self._wait(f"worker-{pool}", lambda pool=pool: self._has_worker(pool))  # type: ignore[misc]

    def _start_demo(self, running: Mapping[str, psutil.Process]) -> None:
        """Start the page, which asks MLflow for the models."""
        if self._demo_port is None or self.demo is None:
            return
        if "demo" not in running:
            _check_free("demo", self._demo_port)
            command = [sys.executable, "-m", "flows.demo", "--port", str(self._demo_port)]
            self._start("demo", command, {}, port=self._demo_port)
        self._wait("demo", lambda: _answers(str(self.demo)))

    def down(self) -> list[str]:
        """Stop what `up` has started, and nothing else; returns the names. A worker takes its flow runs with it."""
        private_folder(self.folder)
        with FileLock(self.folder / "servers.lock"):
            stopped: list[str] = []
            # Workers first: what they run can still say on the server how it ended. The database last.
            groups = (lambda name: name.startswith("worker"), lambda name: name != "postgres", lambda name: True)
            for group in groups:
                processes = {name: process for name, process in self.running().items() if group(name)}
                stopped += processes
                _end(list(processes.values()))
            self._state.unlink(missing_ok=True)
            return stopped

    def running(self) -> dict[str, psutil.Process]:
        """The processes of ours that run, by name."""
        return {entry["name"]: process for entry, process in _living(self._state)}

    def own_database(self) -> dict[str, str]:
        """What a process needs to keep Prefect's database in this checkout."""
        home, file, name = {"PREFECT_HOME": str(self.folder)}, self.folder / "prefect.db", _DATABASE
        address = sqlite_uri(
            file, driver="aiosqlite"
        )  # Prefect's own would lead elsewhere where a path holds ?, # or %
        return home if address.endswith(str(file)) or name in os.environ else {**home, name: address}

    def _server_environment(self, name: str) -> dict[str, str]:
        if self._backend:
            database = self._backend.environment(name)
        else:
            database = {} if name == "prefect" else {"MLFLOW_BACKEND_STORE_URI": self._store}
        own = {"prefect": {"PREFECT_UI_API_URL": f"{self.prefect}/api"}, "mlflow": {"PYTHONWARNINGS": "ignore"}}
        return {**own[name], **database}

    def _deploy(self) -> None:
        """Make pools, deployments and automations as prefect.yaml and `automations` have them."""
        environment = {**os.environ, **self.environment}
        environment.pop("UNROLL_CHECKOUT", None)  # each worker's own; `prefect deploy` would write ours into it
        command = [sys.executable, "-m", "flows.server.deploy"]
        tell("deploying the flows …")
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServersError(f"the flows could not be deployed:\n{done.stdout}{done.stderr}".rstrip())
        for line in done.stdout.splitlines():
            if line.startswith("unroll: "):  # the rest is Prefect's
                tell(line.removeprefix("unroll: "))

    def _start_backend(self, running: Mapping[str, psutil.Process]) -> None:
        """Start PostgreSQL if that is chosen and not there, and note which backend the servers use."""
        chosen = "postgres" if self._backend else "sqlite"
        note = self.folder / _BACKEND_NOTE
        if {"prefect", "mlflow"} & running.keys() and note.exists() and (found := note.read_text()) != chosen:
            raise ServersError(f"the running servers use {found}, not {chosen}; run `make down` first")
        if self._backend is not None:
            if self._backend.own and "postgres" not in running:
                _check_free("postgres", self._backend.port)
                self._backend.initialise()
                self._start("postgres", self._backend.command(), {}, port=self._backend.port)
                self._wait("postgres", self._backend.answers)
            self._backend.make_databases()
        note.write_text(chosen, encoding="utf-8")

    def _start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, port: int | None = None
    ) -> None:
        tell(f"starting {name}; its log is {self._log(name).relative_to(self.root)} …")
        private_file(self._log(name))
        with self._log(name).open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env={**os.environ, **_LEAN, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = psutil.Process(process.pid).create_time()
        entries = [*_recorded(self._state), {"name": name, "pid": process.pid, "started": started, "port": port}]
        temporary = self._state.with_suffix(".partial")
        temporary.write_text(json.dumps(entries), encoding="utf-8")
        temporary.replace(self._state)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        with busy(f"{name} starts"):
            while not is_ready():
                if name not in self.running() or time.monotonic() > deadline:
                    lines = self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
                    raise ServersError("\n".join([f"{name} did not start; {self._log(name)} ends with:", *lines]))
                time.sleep(0.2)

    def _has_worker(self, pool: str) -> bool:
        address = f"{self.prefect}/api/work_pools/{pool}/workers/filter"
        workers = httpx.post(address, json={}, timeout=10).raise_for_status().json()
        return any(worker["status"] == "ONLINE" for worker in workers)


def process_pools(root: Path) -> tuple[str, ...]:
    """The pools of prefect.yaml that this machine can serve, for each of which `up` starts a worker.

    Those that need no engine, and no GPU where there is none: a worker without one would take what it cannot speed up.
    """
    declared = yaml.safe_load((root / "prefect.yaml").read_text(encoding="utf-8"))["work_pools"]
    here = [pool for pool in declared if pool["type"] == "process"]
    return tuple(pool["name"] for pool in here if not pool.get("gpus") or gpus())


def _answers(address: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(address, timeout=5).is_success
    return False


def _check_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            message = f"{name}: port {port} is in use by another program"
            message += ", such as `make ui`; end that, or" if name == "mlflow" else ";"
            message += f" set {_port_variable(name)} to another port"
            raise ServersError(message) from None


def _end(processes: Sequence[psutil.Process]) -> None:
    family = list(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, living = psutil.wait_procs(family, timeout=_STOP_SECONDS)
    for process in living:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(living, timeout=_STOP_SECONDS)


def here() -> Servers:
    """The servers of the checkout in the present folder: those that run, wherever they listen, else as the variables
    say. Raises ServersError for a port that is no number.
    """
    folder, ports = Path(".prefect"), {}
    listening = {entry["name"]: entry.get("port") for entry, _ in _living(folder / _STATE)}
    for name, default in _PORTS.items():
        found = str(listening.get(name) or os.environ.get(_port_variable(name), default))
        if not found.isdigit():
            raise ServersError(f"{_port_variable(name)}: found {found!r}; allowed: a whole number")
        ports[f"{name}_port"] = int(found)
    note = folder / _BACKEND_NOTE
    noted = note.read_text(encoding="utf-8") if listening and note.exists() else "sqlite"
    backend = os.environ.get("UNROLL_BACKEND") or noted
    if backend not in ("sqlite", "postgres"):
        raise ServersError(f"UNROLL_BACKEND: found {backend!r}; allowed: sqlite, postgres")
    if backend == "sqlite":
        del ports["postgres_port"]
    if find_spec("gradio") is None:
        del ports["demo_port"]
    return Servers(Path(), **ports)


def _port_variable(name: str) -> str:
    return f"UNROLL_{name.upper()}_PORT"


def _recorded(state: Path) -> list[dict[str, Any]]:
    with suppress(FileNotFoundError):
        entries: list[dict[str, Any]] = json.loads(state.read_text(encoding="utf-8"))
        return entries
    return []


def _living(state: Path) -> Iterator[tuple[dict[str, Any], psutil.Process]]:
    """What `servers.json` says of each process that still runs, and the process."""
    for entry in _recorded(state):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(entry["pid"])
            # An id is used again after a while.
            if process.create_time() == entry["started"] and process.status() != psutil.STATUS_ZOMBIE:
                yield entry, process


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.server.servers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["up", "down", "status"])
    command = parser.parse_args().command
    try:
        servers = here()
        if command == "down":
            stopped = servers.down()
            print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
            return
        if command == "up":
            servers.up()
        if running := servers.running():
            _print_addresses(servers, running)
        else:
            print("nothing is running; `make up` starts it")
    except (ServersError, BackendError) as error:
        sys.exit(f"unroll: servers: {error}")


def _print_addresses(servers: Servers, running: Mapping[str, psutil.Process]) -> None:
    workers = [name.removeprefix("worker-") for name in running if name.startswith("worker-")]
    print(f"Prefect   {servers.prefect:<28} flows, runs, artifacts")
    print(f"MLflow    {page('experiments', servers.mlflow)}  runs, models")
    if servers.demo and "demo" in running:
        print(f"page      {servers.demo:<28} try the models")
    elif servers.demo is None:
        print(f"page      {'not installed':<28} `make demo` installs it; then `make up` starts it with the rest")
    print(f"workers   {', '.join(workers)}")
    print(f"\nfor the command line:   export PREFECT_API_URL={servers.prefect}/api")
    print(f"for pulling models:     export MLFLOW_TRACKING_URI={servers.mlflow}")


if __name__ == "__main__":
    main()

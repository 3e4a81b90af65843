"""A flow from the command line: which server it uses, and whom it asks on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO

import pytest

from tests.pipeline.conftest import Clone, make_clone

from .house import House, stage_processes, wait_until

pytestmark = pytest.mark.system
QUIET = ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "PREFECT_SERVER_ANALYTICS_ENABLED", "NO_PROXY", "no_proxy")


@contextmanager
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a proxy that notes the first line of what it is asked, and answers nobody."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        asked.append(connection.recv(200).partition(b"\r\n")[0])

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked


def run(clone: Clone, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`flows.run` as in a shell that knows of no server and sets nothing but these variables."""
    unset = (*QUIET, "PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI")
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if name not in unset}
    command = [sys.executable, "-m", "flows.run", *arguments]
    folder, given = clone.folder, {**environment, **variables}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=400, check=False)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A checkout without servers."""
    return make_clone(tmp_path_factory.mktemp("other"))


@pytest.mark.slow
def test_behind_a_proxy_and_without_a_server(other: Clone) -> None:
    with proxy() as (address, asked):
        named = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), address)
        done = run(other, "forecast", "--up-to", "download", **named)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not asked  # neither for this machine, nor to report home
    assert "telemetry" not in done.stdout + done.stderr
    assert "| download@forecast: Finished in state" in done.stdout + done.stderr


def test_another_shell_finds_the_server(flows: House) -> None:
    before = {entry["id"] for entry in flows.post("flow_runs/filter", {})}
    done = run(flows.clone, "translation", "--up-to", "download")  # test_flows begins with `forecast`
    assert done.returncode == 0, done.stdout + done.stderr
    assert len({entry["id"] for entry in flows.post("flow_runs/filter", {})} - before) == 1


def test_a_run_of_another_checkout_is_refused(flows: House, other: Clone) -> None:
    done = run(other, "forecast", PREFECT_API_URL=f"{flows.servers.prefect}/api")
    assert done.returncode == 1
    assert done.stderr.startswith(f"unroll: servers: {flows.servers.prefect}/api is the server of {flows.clone.folder}")
    assert done.stderr.count("\n") == 1


def training(clone: Clone, environment: dict[str, str]) -> tuple[subprocess.Popen[str], IO[str]]:
    """A run in a process group of its own that has trained an epoch, and the rest of what it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.run", "forecast", "--set", "forecast.train.epochs=2000", "--up-to", "train"],
        cwd=clone.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "train@forecast: epoch" in line:
            break
    return process, process.stdout


def test_ctrl_c_during_a_flow_is_one_line(flows: House) -> None:
    process, output = training(flows.clone, {**os.environ, **flows.servers.environment})
    os.killpg(process.pid, signal.SIGINT)
    said = output.read()
    assert process.wait(60) == 75, said
    assert "unroll: stopped\n" in said
    assert "Traceback" not in said
    worktrees = flows.clone.folder / ".prefect" / "worktrees"
    wait_until(lambda: not list(worktrees.iterdir()), "no worktree", seconds=20)


@pytest.mark.slow
def test_sigterm_to_all_of_a_run_with_a_temporary_server_ends_it_at_once(other: Clone) -> None:
    """As `timeout` and schedulers send it: the server ends as well, and Prefect would try for a minute to reach it."""
    unset = ("PREFECT_API_URL", "PREFECT_HOME")
    process, output = training(other, {name: value for name, value in os.environ.items() if name not in unset})
    since = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    said = output.read()
    assert process.wait(60) == 75, said
    assert time.monotonic() - since < 15
    assert said.endswith("unroll: stopped\n")
    assert "Traceback" not in said
    wait_until(lambda: not stage_processes(other.folder), "no process of a stage", seconds=15)

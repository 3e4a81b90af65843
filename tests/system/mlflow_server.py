"""MLflow's servers, a test's own: of the store, and of a model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.machine import free_port

from .house import kill_all, wait_until


@contextmanager
def mlflow_server(folder: Path, *arguments: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that runs in `folder`, writes its log there, and answers; it ends with the block."""
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", **environment}
    with _running(folder, "server", *arguments, health="/health", environment=variables) as address:
        yield address


@contextmanager
def model_server(folder: Path, model: Path, *, environment: Mapping[str, str]) -> Iterator[str]:
    """The same of a server that answers with a saved model."""
    arguments = ("models", "serve", "--model-uri", str(model), "--env-manager", "local")
    with _running(folder, *arguments, health="/ping", environment=environment) as address:
        yield address


@contextmanager
def _running(folder: Path, *arguments: str, health: str, environment: Mapping[str, str]) -> Iterator[str]:
    port, log = str(free_port()), folder / "mlflow.log"
    where = ("--workers", "1", "--host", "127.0.0.1", "--port", port)
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments, *where],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=file,
            stderr=file,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server.poll() is not None or _is_healthy(f"{address}{health}"), "MLflow", seconds=200)
        assert server.poll() is None, log.read_text()
        yield address
    finally:
        kill_all(server.pid)
        server.wait()


def _is_healthy(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False).is_success
    except httpx.HTTPError:
        return False

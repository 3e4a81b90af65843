"""An MLflow server of a test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from .house import free_port, kill_all, wait_until


@contextmanager
def mlflow_server(folder: Path, *arguments: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that runs in `folder`, writes its log there, and answers; it ends with the block."""
    port = str(free_port())
    command = [sys.executable, "-m", "mlflow", "server", *arguments, "--workers", "1", "--host", "127.0.0.1"]
    variables = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--port", port], cwd=folder, env={**variables, **environment}, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server.poll() is not None or _is_healthy(address), "MLflow", seconds=200)
        assert server.poll() is None, (folder / "mlflow.log").read_text()
        yield address
    finally:
        kill_all(server.pid)
        server.wait()


def _is_healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", trust_env=False).is_success
    except httpx.HTTPError:
        return False

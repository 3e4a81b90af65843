"""What a manifest's command does, where the command can run without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.machine import free_port

pytestmark = [pytest.mark.system, pytest.mark.slow]
REPOSITORY = Path(__file__).resolve().parents[2]


def test_mlflow_answers_by_the_names_it_has_in_the_cluster(tmp_path):
    """Its server refuses any other name, since a page in a browser could have made it up."""
    manifests = yaml.safe_load_all((REPOSITORY / "deploy/kubernetes.yaml").read_text("utf-8"))
    (pod,) = [
        each["spec"]["template"]["spec"]
        for each in manifests
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", "mlflow")
    ]
    (container,) = pod["containers"]
    command, verb, *arguments = container["args"]
    assert (command, verb) == ("mlflow", "server")
    given = {each["name"]: each["value"] for each in container["env"]}
    # inherited settings of a store would hide that the store lies in the working directory
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | given
    port = free_port()
    here = [
        {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={port}"}.get(each, each) for each in arguments
    ]
    server = subprocess.Popen([sys.executable, "-m", "mlflow", "server", *here], cwd=tmp_path, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/health", server)
        asked = f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0"
        for name in ("mlflow:5000", "mlflow.unroll.svc.cluster.local:5000", "127.0.0.1:5000", "localhost:5000"):
            assert httpx.get(asked, headers={"Host": name}, timeout=30).status_code == 200, name
        assert httpx.get(asked, headers={"Host": "evil.example"}, timeout=30).status_code == 403
        assert httpx.get(f"{url}/health", headers={"Host": "10.1.2.3:5000"}, timeout=30).status_code == 200  # the probe
        assert (tmp_path / "mlflow.db").is_file()
    finally:
        server.terminate()
        server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"{url} did not answer within {seconds:.0f} s")

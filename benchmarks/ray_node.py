"""A node of a Ray cluster on this machine, for a measurement or a test."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = "127.0.0.1"
_START_SECONDS = 300
_STARTED = "runtime started"  # what `ray start` says


def start_node(
    log: Path, address: str, *options: str, environment: Mapping[str, str], prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a node of one CPU, in a session of its own, and wait until it is there; `options` with `--head` make it
    the head at `address`, and `prefix` is a command that runs it. Raises RuntimeError with its log if it ends.
    """
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", f"--node-ip-address={HERE}", "--num-cpus=1"]
    where = [f"--port={address.rpartition(':')[2]}"] if "--head" in options else [f"--address={address}"]
    variables = {
        "RAY_AUTH_MODE": "disabled",  # else a head asks for a token once any session on this machine has made one
        **environment,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": str(_START_SECONDS),
        "RAY_worker_niceness": "0",  # else 15 more than ours: on a busy machine they would hardly run
    }
    with log.open("wb") as file:
        command = [*prefix, *ray, *where, *options]
        node = subprocess.Popen(command, env=variables, stdout=file, stderr=file, start_new_session=True)
    until = time.monotonic() + _START_SECONDS
    while _STARTED not in (said := log.read_text(encoding="utf-8")):
        if node.poll() is not None or time.monotonic() > until:
            node.terminate()
            raise RuntimeError(f"a node of the cluster did not start: {said}")
        time.sleep(0.2)
    return node

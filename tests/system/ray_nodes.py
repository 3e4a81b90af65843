"""A Ray cluster on this machine: nodes that are process groups of their own, which may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from .house import free_port, wait_until

RAY = Path(sys.executable).with_name("ray")
_HERE = "127.0.0.1"
_STARTED = "runtime started"  # what `ray start` says


class Nodes:
    """The nodes, each with one CPU; processes that connect from here belong to the first, the head."""

    def __init__(self, folder: Path) -> None:
        self.address = f"{_HERE}:{free_port()}"
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        options = ["--head", f"--port={self.address.rpartition(':')[2]}", f"--temp-dir={folder}"]
        self.add(*options, "--include-dashboard=false", f"--ray-client-server-port={free_port()}")

    def add(self, *options: str) -> None:
        """Start a node, another one than the head without `options`."""
        log = self._folder.with_suffix(f".{len(self._started)}.log")
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300"}
        command = [str(RAY), "start", "--block", f"--node-ip-address={_HERE}", "--num-cpus=1"]
        command += ["--object-store-memory=200000000", *(options or [f"--address={self.address}"])]
        with log.open("wb") as file:
            node = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
        self._started.append(node)

        def ready() -> bool:
            assert node.poll() is None, log.read_text()
            return _STARTED in log.read_text()

        wait_until(ready, "a node of the cluster", seconds=300)

    def workers(self, title: str) -> list[tuple[psutil.Process, int]]:
        """The living worker processes of a title, `ray::…`, each with the number of its node."""
        found = []
        for number, node in enumerate(self._started):
            for process in psutil.process_iter(["name", "cmdline"]):
                with suppress(psutil.Error):
                    if title in " ".join(process.info["cmdline"]) and node.pid == os.getpgid(process.ppid()):
                        found.append((process, number))
        return found

    def kill(self, number: int) -> None:
        """End a node with all its processes, as a power cut does."""
        node = self._started[number]
        raylets = [p for p in psutil.process_iter() if _group(p) == node.pid]
        workers = [child for raylet in raylets for child in _children(raylet)]
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        for worker in workers:  # groups of their own
            with suppress(psutil.Error):
                worker.kill()
        node.wait()

    def stop(self) -> None:
        for number in reversed(range(len(self._started))):
            self.kill(number)


def _group(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return 0


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    """A cluster of so many nodes."""
    # A short path: sockets lie below it, and their addresses are 107 bytes at the most.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        started = Nodes(Path(folder, "r"))
        try:
            for _ in range(count - 1):
                started.add()
            yield started
        finally:
            started.stop()

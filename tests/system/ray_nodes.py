"""A Ray cluster on this machine: nodes that are process groups of their own, which may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.machine import free_port
from benchmarks.ray_node import HERE, start_node

_NAMESPACE = ("unshare", "--mount", "--propagation=private", "sh", "-c")


class Nodes:
    """The nodes, each with one CPU; processes that connect from here belong to the first, the head.

    None of them sees what lies in `hidden`, and each has a folder below `own` for what it is brought.
    """

    def __init__(self, folder: Path, *, hidden: Path | None = None, own: Path | None = None) -> None:
        self.address = f"{HERE}:{free_port()}"
        self._folder, self._hidden, self._own = folder, hidden, own or folder.with_suffix(".own")
        self._started: list[subprocess.Popen[bytes]] = []
        self._start(
            "--head", f"--temp-dir={folder}", "--include-dashboard=false", f"--ray-client-server-port={free_port()}"
        )

    def add(self, *options: str) -> None:
        """Start a node more."""
        self._start(*options)

    def _start(self, *options: str) -> None:
        log = self._folder.with_suffix(f".{len(self._started)}.log")
        # No credentials, and no folder for temporary files that is the tests' own: nodes are other machines.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name != "TMPDIR"}
        environment = {**kept, "UNROLL_NODE_FOLDER": str(self._own / str(len(self._started)))}
        hide = 'mount -t tmpfs none "$0" && exec "$@"'
        prefix = () if self._hidden is None else (*_NAMESPACE, hide, str(self._hidden))
        memory = "--object-store-memory=200000000"
        self._started.append(start_node(log, self.address, memory, *options, environment=environment, prefix=prefix))

    def folders(self) -> list[Path]:
        """Those of the nodes that were brought something, also of dead ones."""
        return sorted(self._own.iterdir())

    def workers(self, title: str) -> list[tuple[psutil.Process, int]]:
        """The living worker processes of a title, `ray::…`, each with the number of its node."""
        found = []
        for number, node in enumerate(self._started):
            for process in psutil.process_iter(["name", "cmdline"]):
                with suppress(psutil.Error):
                    if title in " ".join(process.info["cmdline"] or []) and node.pid == os.getpgid(process.ppid()):
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


def namespaces_refused() -> bool:
    """Whether no process may have mounts of its own here."""
    try:
        return bool(
            subprocess.run([*_NAMESPACE, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode
        )
    except FileNotFoundError:
        return True


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
def nodes(count: int, *, hidden: Path | None = None, own: Path | None = None) -> Iterator[Nodes]:
    """A cluster of so many nodes."""
    # A short path: sockets lie below it, and their addresses are 107 bytes at the most.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        started = Nodes(Path(folder, "r"), hidden=hidden, own=own)
        try:
            for _ in range(count - 1):
                started.add()
            yield started
        finally:
            started.stop()

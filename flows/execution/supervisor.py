"""Run a command that ends, at the latest, with the process that started it.

    python -m flows.execution.supervisor COMMAND …

runs the command until it ends or standard input closes. A flow holds the other end of that pipe: when the flow closes
it, is cancelled, or dies by `kill -9`, the kernel closes the pipe, and the command and all processes that it started
are ended: first by SIGTERM, so that a training saves its state, then by SIGKILL.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from stages.paths import search_path

GRACE = 8.0  # seconds between SIGTERM and SIGKILL: all is over within 15, with what notices late
_PATIENCE = 4.0  # seconds in which the command may end by itself, once all that it started has
_TAIL = 20  # last lines of output that are kept
_POLL = 0.1
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended: its status (negative: killed by that signal), and its last lines of output."""

    status: int
    tail: tuple[str, ...]
    timed_out: bool = False


def hang_up(process: subprocess.Popen[Any], seconds: float) -> None:
    """Close the standard input of a process that ends when it does; after so many seconds it is killed."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_supervised(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    stop: threading.Event | None = None,
    descriptors: Sequence[int] = (),
    on_line: Callable[[str], None] = lambda line: None,
) -> CommandResult:
    """Run a command under a supervisor of its own, for as long as this process lives and this call lasts.

    Each line of its output, errors included, goes to `on_line`. After `timeout` seconds, or when `stop` is set, it is
    ended. Where this call is left by an exception, it is ended, too. The supervisor keeps `descriptors` open, and with
    them the locks that they hold, until all is over.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.execution.supervisor", *command],  # ours, not that of the folder
        cwd=folder,
        env={**os.environ, **(environment or {}), "PYTHONPATH": search_path()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=tuple(descriptors),
        text=True,
        errors="replace",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin
    timed_out = threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + timeout if timeout else float("inf")
        while process.poll() is None and not (stop and stop.is_set()):
            if time.monotonic() > deadline:
                timed_out.set()
                break
            time.sleep(_POLL)
        with suppress(OSError):
            stdin.close()

    tail: deque[str] = deque(maxlen=_TAIL)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        for line in process.stdout:
            tail.append(line.rstrip("\n"))
            on_line(tail[-1])
        status = process.wait()
    finally:
        with suppress(OSError):
            stdin.close()
        process.wait()
        process.stdout.close()
        watcher.join()
    return CommandResult(status=status, tail=tuple(tail), timed_out=timed_out.is_set())


def main(command: Sequence[str]) -> int:
    """Supervise; returns the command's status."""
    _adopt_orphans()
    stop = threading.Event()

    def stop_now(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, stop_now)
    signal.signal(signal.SIGINT, stop_now)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"unroll: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    threading.Thread(target=_wait_for_end_of_stdin, args=(stop,), daemon=True).start()
    while child.poll() is None and not stop.wait(_POLL):
        pass
    _end_all(child.pid)
    status = child.wait()
    _reap_orphans()
    return status


def _wait_for_end_of_stdin(stop: threading.Event) -> None:
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    stop.set()


def _adopt_orphans() -> None:
    """Become the parent of what loses its own, so that nothing that the command starts gets away (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_all(command: int) -> None:
    """Terminate all descendants, and kill those that are left after GRACE seconds.

    The command itself comes last: a `dvc` whose stage has ended says so and goes, where a signal could meet it while
    it writes dvc.lock.
    """
    start = time.monotonic()
    terminated: set[int] = set()
    while living := [child for child in psutil.Process().children(recursive=True) if _is_alive(child)]:
        waited = time.monotonic() - start
        for child in living:
            if child.pid == command and waited < _PATIENCE:
                continue
            with suppress(psutil.NoSuchProcess):
                if waited > GRACE:
                    child.kill()
                elif child.pid not in terminated:
                    child.terminate()
            terminated.add(child.pid)
        time.sleep(_POLL)


def _reap_orphans() -> None:
    """Collect the adopted processes that have ended; not every machine's init does."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


if __name__ == "__main__":
    status = main(sys.argv[1:])
    if status < 0:  # as the shell says it, and as our own end should look
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)

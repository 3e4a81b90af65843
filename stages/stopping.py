"""What ends a process from outside: a scheduler's SIGTERM, a person's Ctrl-C, the end of who started it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_POLL = 0.5  # seconds between two looks at the parent's number
_PARENT = os.getppid()  # asked when the command line is loaded, and not seconds later, when torch is


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even by kill -9, and also where it was gone before.

    A process that multiprocessing has started holds the end of a pipe, which the kernel closes with the parent. One
    that torchrun has started as a command knows its parent's number alone.
    """
    import multiprocessing

    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        while parent is None and not _orphaned():
            time.sleep(_POLL)
        os._exit(1)

    if not parent.is_alive() if parent else _orphaned():
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


def _orphaned() -> bool:
    """Whether this process has another parent than at first, or had lost its own before it asked."""
    return os.getppid() != _PARENT or _takes_up_orphans(_PARENT)


def _takes_up_orphans(pid: int) -> bool:
    """Whether a process is init, unless that is itself torchrun (a container's first process), or a user's systemd."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return pid == 1
    return b"torch" not in command and (pid == 1 or b"systemd" in command)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Inside the block, SIGTERM and SIGINT only make the yielded function return True; a second one ends the process at
    once.
    """
    requested = False
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        requested = True
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, handle)
    try:
        yield lambda: requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

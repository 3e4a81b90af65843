"""What ends a process from outside: a scheduler's SIGTERM, a person's Ctrl-C, the end of its parent process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

STATUS = 75  # of whatever was stopped, a saved training too; sysexits.h: a temporary failure, try again
_POLL = 0.5  # seconds between two looks at the parent's number
_PARENT = os.getppid()  # asked when the command line is loaded, and not seconds later, when torch is


class Interrupted(SystemExit, KeyboardInterrupt):
    """Ends the process with status 75 and no traceback; to those who handle a KeyboardInterrupt it is one."""


def exit_on_signals() -> None:
    """From now on, SIGTERM and Ctrl-C end this process with one line and status 75; a second one does so at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # `nohup` ignores some
            signal.signal(number, _interrupt)


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
        signal.signal(number, _end)

    for number in previous:
        signal.signal(number, handle)
    try:
        yield lambda: requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, _end)
    # An import makes another error of what is raised within, or none: and there is nothing yet to tidy up.
    if _is_importing(frame):
        _end(number, frame)
    os.write(2, b"unroll: stopped\n")
    raise Interrupted(STATUS)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    with suppress(OSError, RuntimeError, ValueError):  # it may be closed, or just be writing
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, b"unroll: stopped\n")
    os._exit(STATUS)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None

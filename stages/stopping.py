"""Requests to stop: a scheduler's SIGTERM, a person's Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

STATUS = 75  # sysexits.h: a temporary failure, try again; `training.distributed` says it of a saved training


class Interrupted(SystemExit, KeyboardInterrupt):
    """Ends the process with status 75 and no traceback; to those who handle a KeyboardInterrupt it is one."""


def exit_on_signals() -> None:
    """From now on, SIGTERM and Ctrl-C end this process with one line and status 75; a second one does so at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # `nohup` ignores some
            signal.signal(number, _interrupt)


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

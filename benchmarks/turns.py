"""The other end of `trainee.Trainee`: a program that works when it is told to, and says what each turn took.

It needs Python alone, since the environments of those that we are compared with have little else in common.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from .timing import processor_seconds


class Turns:
    """One side's turns, on one core and counted by the clock and in processor seconds, those of ended children too.

    Standard output is kept for the answers; whatever else is printed goes to standard error.
    """

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    def ready(self, facts: Mapping[str, Any]) -> None:
        """Say that it can begin, and wait for the first turn."""
        self._say_and_wait(facts)

    def answer(self, figures: Mapping[str, Any]) -> None:
        """Say what came of the turn at hand with its `seconds` and `processor_seconds`, and wait for the next."""
        seconds = {
            "seconds": time.perf_counter() - self._started,
            "processor_seconds": processor_seconds() - self._processor,
        }
        self._say_and_wait({**seconds, **figures})

    def _say_and_wait(self, values: Mapping[str, Any]) -> None:
        print(json.dumps(values), file=self._out, flush=True)
        if not sys.stdin.readline():
            sys.exit()
        self._started, self._processor = time.perf_counter(), processor_seconds()


def repeat(prepare: Callable[[], tuple[Mapping[str, Any], Callable[[], Mapping[str, Any]]]]) -> None:
    """Answer each turn with what the second part of `prepare` returns; the first part says that it is ready.

    It runs once before the turns, which imports, compiles and brings files into memory. What cannot be loaded is said
    in place of the first part, as `missing`.
    """
    turns = Turns()
    try:
        facts, run = prepare()
        run()
    except (ImportError, OSError, RuntimeError) as error:
        turns.ready({"missing": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"})
        return
    turns.ready(facts)
    while True:
        turns.answer(run())

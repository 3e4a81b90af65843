"""What visitors correct, on its way to `feedback/TASK/`: bounded in rate, and off where strangers may come.

`stages.feedback` keeps it in the form that training reads, and bounds its size. Here is decided who may hand in, and
how often.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from stages.feedback.feedback import Feedback

MAX_A_MINUTE, MAX_A_DAY = 30, 2000  # of all visitors together
KNOWN = "known"  # a store's answer to what it has already

_DAY = 86_400.0


class Store(Protocol):
    """Where the corrections of a task go: `stages.feedback.feedback.Feedback`."""

    def add(self, record: Mapping[str, Any]) -> str:
        """Keep a record; KNOWN where it was kept before. Raises ValueError with a reason where it cannot be one."""


class Refusal(ValueError):
    """A correction is not taken; the message says why."""


class Corrections:
    """Takes corrections of all tasks, or none where it is off."""

    def __init__(
        self, store: Callable[[str, Sequence[str]], Store] | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`store` opens the store of a task, for the classes that its model knows; None takes no corrections."""
        self._open, self._clock = store, clock
        self._stores: dict[tuple[str, tuple[str, ...]], Store] = {}
        self._taken: deque[float] = deque()
        self._lock = threading.Lock()

    @property
    def enabled(self) -> bool:
        """Whether the page has the buttons."""
        return self._open is not None

    def add(self, task: str, classes: Sequence[str], record: Mapping[str, Any]) -> bool:
        """Hand one record on; False where it was kept before. Raises Refusal where too much has come already, or where
        the store does not take it.
        """
        if self._open is None:
            raise Refusal("this page does not accept corrections")
        with self._lock:
            self._check_rate()
            key = (task, tuple(classes))
            try:
                if key not in self._stores:
                    self._stores[key] = self._open(task, classes)
                is_new = self._stores[key].add(record) != KNOWN
            except ValueError as error:
                raise Refusal(str(error)) from None
            self._taken.append(self._clock())
        return is_new

    def _check_rate(self) -> None:
        now = self._clock()
        while self._taken and self._taken[0] <= now - _DAY:
            self._taken.popleft()
        if sum(taken > now - 60 for taken in self._taken) >= MAX_A_MINUTE:
            raise Refusal(f"{MAX_A_MINUTE} corrections were received within a minute; try again later")
        if len(self._taken) >= MAX_A_DAY:
            raise Refusal(f"{MAX_A_DAY:,} corrections were received within a day; try again tomorrow")


def open_corrections(folder: Path) -> Corrections:
    """Corrections that are kept in `folder`, by task."""
    return Corrections(lambda task, classes: Feedback(folder, task, classes))

"""The corrections of one task: kept once, whole, and for ever, by any number of threads and processes.

    feedback = Feedback(Path("feedback"), "sketch", classes)
    feedback.add({"word": "clock", "drawing": [[[0, 9], [0, 9]]], "recognized": False})   "kept"; again: "known"

What a record may hold is said in the task's `corrections.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ..tasks.protocol import Task
from .clip_files import CLASS, ClipFiles
from .correction import Correction, FeedbackError, Limits
from .day_files import DayFiles

_LOCK = ".lock"
_PATIENCE = 10.0  # seconds that others may take to write


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Feedback:
    """The folder `folder/TASK`, which is made. `classes` are those that the model knows, none where it has none.

    Raises ValueError for a task without corrections, and for a class that could be no folder's name where it must be.
    """

    def __init__(
        self,
        folder: Path,
        task: str,
        classes: Iterable[str] = (),
        *,
        limits: Limits | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._form = Task(task).corrections()
        self._classes, self._now = frozenset(classes), now
        self._limits: Limits = limits or self._form.LIMITS
        self._folder = folder / task
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock, self._mine = FileLock(self._folder / _LOCK, timeout=_PATIENCE), threading.Lock()
        self._files: DayFiles | ClipFiles
        if self._form.SUFFIX:
            self._files = DayFiles(self._folder, self._form.SUFFIX, self._form.identity)
        else:
            self._files = ClipFiles(self._folder)
            if wrong := sorted(name for name in self._classes if not CLASS.fullmatch(name)):
                raise ValueError(f"found the class {wrong[0]!r}; allowed: a name that a folder can have")
        with self._locked():
            pass  # what a stopped process has left is put right now, and not with the first correction

    def add(self, record: Mapping[str, Any]) -> Literal["kept", "known"]:
        """Keep a correction, on the disk before this returns; `known` where the same was kept before.

        One of a class that is not known goes into `other/`. Raises FeedbackError where it is none, is too large, or
        the day or the folder is full; then nothing has changed.
        """
        moment = self._now()
        correction: Correction = self._form.correction(record, moment)
        day, size = f"{moment:%Y-%m-%d}", len(correction.content)
        if size > self._limits.record:
            raise FeedbackError(f"found {size:,} bytes; allowed: {self._limits.record:,}")
        known = not correction.label or correction.label in self._classes
        with self._locked():
            if self._files.holds(correction, known=known):
                return "known"
            for kept, allowed, what in zip(
                self._files.sizes(day), (self._limits.day, self._limits.folder), ("today's", "all"), strict=True
            ):
                if kept + size > allowed:
                    raise FeedbackError(f"{what} corrections have {kept:,} bytes already; allowed: {allowed:,}")
            self._files.write(correction, day, known=known)
        return "kept"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone in the folder, with all that others have written known."""
        busy = f"other processes have been writing for {_PATIENCE:g} seconds; try again"
        if not self._mine.acquire(timeout=_PATIENCE):
            raise FeedbackError(busy)
        try:
            with self._lock:
                self._files.catch_up()
                yield
        except Timeout:
            raise FeedbackError(busy) from None
        except OSError as error:
            raise FeedbackError(f"cannot be kept: {error.strerror or type(error).__name__}") from None
        finally:
            self._mine.release()

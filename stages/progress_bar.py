"""Progress of long work: a bar on a terminal; in a log one line per minute, and none for what takes less.

Of several ranks, only the first reports. Progress goes to standard error and affects no result.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

Item = TypeVar("Item")

_SECONDS = 60.0  # between two lines of a log
_REFRESH = 1.0  # seconds between two looks at the clock where nothing is counted
BYTES = "B"  # a unit that is told in kB, MB, …


class ProgressBar:
    """Counts work that is done.

    with ProgressBar("decode", unit="clips", total=4000) as bar:
        bar.update()
    """

    def __init__(
        self,
        title: str,
        *,
        unit: str = "",
        total: int | None = None,
        done: int = 0,
        quiet: bool = False,
        say: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`done` of `total` units are there already; `say` takes the lines of a log in place of standard error."""
        self._title, self._unit, self._total = title, unit, total
        self._first = self._done = done
        self._quiet = quiet or not _is_first_rank()
        self._say, self._clock = say or _to_stderr, clock
        self._started = self._told = clock()
        self._bar = None if self._quiet or say or not sys.stderr.isatty() else self._on_terminal()

    def update(self, count: int = 1) -> None:
        """So many more are done; 0 only looks whether it is time to tell."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count) if count else self._bar.refresh()
        elif not self._quiet and (now := self._clock()) - self._told >= _SECONDS:
            self._told = now
            self._say(self._line(now - self._started))

    def note(self, text: str) -> None:
        """What stands behind the bar of a terminal."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def _on_terminal(self) -> Any:
        from tqdm import tqdm  # a served model has no need of it

        shape: dict[str, Any] = {"desc": self._title, "total": self._total, "initial": self._done, "leave": False}
        if self._unit == BYTES:
            return tqdm(**shape, unit=BYTES, unit_scale=True, unit_divisor=1024)
        return tqdm(**shape, unit=f" {self._unit}") if self._unit else tqdm(**shape, bar_format="{desc}: {elapsed}")

    def _line(self, seconds: float) -> str:
        if not self._unit:
            return f"{self._title}: {duration(seconds)} so far"
        unit = "MB" if self._unit == BYTES else self._unit
        done, new = self._amount(self._done), self._done - self._first
        if not self._total or not new:
            return f"{self._title}: {done} {unit} in {duration(seconds)}"
        left = seconds / new * max(self._total - self._done, 0)
        return f"{self._title}: {done} of {self._amount(self._total)} {unit}, about {duration(left)} left"

    def _amount(self, count: int) -> str:
        return f"{count / 2**20:,.1f}" if self._unit == BYTES else f"{count:,}"


def track(items: Iterable[Item], title: str, *, unit: str, total: int | None = None) -> Iterator[Item]:
    """The items; whoever has asked for the next one has done one more. What has a length needs no `total`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ProgressBar(title, unit=unit, total=total) as bar:
        for item in items:
            yield item
            bar.update()


@contextmanager
def busy(title: str, *, say: Callable[[str], object] | None = None) -> Iterator[None]:
    """Tells how long the block has taken, where it has nothing to count."""
    ended = threading.Event()
    with ProgressBar(title, say=say) as bar:

        def tell() -> None:
            while not ended.wait(_REFRESH):
                bar.update(0)

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def tell(text: str) -> None:
    """A line about what is to come."""
    if _is_first_rank():
        _to_stderr(text)


def duration(seconds: float) -> str:
    """Seconds in words: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _is_first_rank() -> bool:
    return os.environ.get("RANK", "0") == "0"  # torchrun's variable


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

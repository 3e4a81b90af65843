"""Work in several processes, results in the order of the items; a crash takes the item that caused it."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from ..stopping import end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 8  # items handed out per process before the first result is read: bounds what waits in memory


class Crash(Exception):
    """The process that worked on an item died."""


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, processes: int, join_in: bool = False
) -> Iterator[tuple[Item, Result | Crash]]:
    """`function(item)` for each item, or a Crash where it killed its process; function, items, results are pickled.

    With `join_in` this process works on an item that no other one has begun, rather than wait for the next result:
    while the others start, and whenever they lag behind. A crash there is a crash of this process.
    """
    waiting = deque(items)
    suspects = 0  # items that were in work when a process died: each is tried again alone, to find the one to blame
    while waiting:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1 if suspects else processes, context, initializer=end_with_parent)
        given: deque[tuple[Item, Future[Result]]] = deque()
        try:
            while waiting or given:
                while waiting and len(given) < (1 if suspects else processes * _AHEAD):
                    item = waiting.popleft()
                    given.append((item, pool.submit(function, item)))
                while join_in and not given[0][1].done():
                    place = next((n for n, (_, future) in enumerate(given) if future.cancel()), None)
                    if place is None:
                        break
                    given[place] = (given[place][0], _done(function, given[place][0]))
                item, future = given[0]
                yield item, future.result()
                given.popleft()
                suspects = max(suspects - 1, 0)
        except BrokenProcessPool:
            if suspects:
                yield given.popleft()[0], Crash("the process died")
                suspects -= 1
            else:
                suspects = len(given)
            waiting.extendleft(item for item, _ in reversed(given))
        finally:
            pool.shutdown(cancel_futures=True)


def _done(function: Callable[[Item], Result], item: Item) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(function(item))
    return future

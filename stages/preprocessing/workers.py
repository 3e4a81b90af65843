"""Work in several processes, results in the order of the items; a crash takes the item that caused it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar, cast

from ..cluster import connection, mapping
from ..stopping import end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

_END = object()
_AHEAD = 8  # items handed out per process before the first result is read: bounds what waits in memory


class Crash(Exception):
    """The process that worked on an item died."""


def cores() -> int:
    """The processor cores that this process may use; where UNROLL_RAY names a cluster, no bound is known here."""
    if connection.address() is not None:
        return sys.maxsize
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, processes: int, join_in: bool = False
) -> Iterator[tuple[Item, Result | Crash]]:
    """`function(item)` for each item, or a Crash where it killed its process; function, items, results are pickled.

    Items are read as they are handed out, a few for each process at once. With `join_in` this process works on an item
    that no other one has begun, rather than wait for the next result: while the others start, and whenever they lag
    behind. A crash there is a crash of this process. Where UNROLL_RAY names a cluster, its processes work on them.
    """
    if connection.address() is None:
        yield from _ordered_map(function, items, processes, join_in)
        return
    results = mapping.ordered_map(function, items, processes=processes, ahead=_AHEAD, join_in=join_in)
    for item, result in results:
        yield item, Crash(str(result)) if isinstance(result, mapping.Died) else result


def _ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int, join_in: bool
) -> Iterator[tuple[Item, Result | Crash]]:
    unread, more = iter(items), True
    again: deque[Item] = deque()  # those that were in work when a process died
    suspects = 0  # of them, that are to be tried alone, to find the one to blame
    while more or again:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1 if suspects else processes, context, initializer=end_with_parent)
        given: deque[tuple[Item, Future[Result]]] = deque()
        try:
            while True:
                while (more or again) and len(given) < (1 if suspects else processes * _AHEAD):
                    item = again.popleft() if again else next(unread, _END)
                    if item is _END:
                        more = False
                    else:
                        given.append((cast(Item, item), pool.submit(function, cast(Item, item))))
                if not given:
                    break
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
            again.extendleft(item for item, _ in reversed(given))
        finally:
            pool.shutdown(cancel_futures=True)


def _done(function: Callable[[Item], Result], item: Item) -> Future[Result]:
    """The result, or the error that is raised when those before it have been read."""
    future: Future[Result] = Future()
    try:
        future.set_result(function(item))
    except Exception as error:
        future.set_exception(error)
    return future

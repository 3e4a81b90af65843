"""Work in several processes, results in the order of the items; a crash takes the item that caused it."""

from __future__ import annotations

import multiprocessing
import os
import signal
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
_AHEAD = 8  # items per process that are begun before the first result is read: bounds what waits in memory
_IN_HAND = 2  # of them, that a process is given where this one takes the next ones: it never waits for more


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

    Items are read as they are handed out, a few for each process at once. With `join_in` this process works on the next
    item that it has not handed out, rather than wait for a result: while the others start, and whenever they lag
    behind. It takes none back, since a pool with cancelled items hangs where a process dies (Python 3.11). A crash here
    is a crash of this process. Where UNROLL_RAY names a cluster, its processes work on them.
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
    # Those that were on their way when a process died, each with its result or, to find the one to blame, to be tried
    # alone.
    again: deque[tuple[Item, Future[Result] | None]] = deque()
    most = processes * _AHEAD
    while more or again:
        alone = bool(again)
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1 if alone else processes, context, initializer=_begin)
        given: deque[tuple[Item, Future[Result]]] = deque()
        try:
            while True:
                while again and not given:
                    item, kept = again[0]
                    given.append((item, kept or pool.submit(function, item)))
                    again.popleft()
                in_hand = processes * _IN_HAND if join_in else most
                while more and not alone and len(given) < most and _unfinished(given) < in_hand:
                    if (found := next(unread, _END)) is _END:
                        more = False
                    else:
                        item = cast(Item, found)
                        given.append((item, _submitted(pool, function, item)))
                if not given:
                    break
                if join_in and more and not alone and len(given) < most and not given[0][1].done():
                    if (found := next(unread, _END)) is _END:
                        more = False
                    else:
                        item = cast(Item, found)
                        given.append((item, _done(function, item)))
                    continue
                item, future = given[0]
                yield item, future.result()
                given.popleft()
        except BrokenProcessPool:
            if alone and given:
                yield given.popleft()[0], Crash("the process died")
            again.extendleft((item, future if _has_result(future) else None) for item, future in reversed(given))
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a new process: its parent alone answers Ctrl-C, which a terminal sends to both, and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _submitted(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    """The result to come; that of an item which no process has seen, since the last one died meanwhile, is that."""
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _unfinished(given: Iterable[tuple[Item, Future[Result]]]) -> int:
    return sum(not future.done() for _, future in given)


def _has_result(future: Future[Result]) -> bool:
    return future.done() and not isinstance(future.exception(), BrokenProcessPool)


def _done(function: Callable[[Item], Result], item: Item) -> Future[Result]:
    """The result, or the error that is raised when those before it have been read."""
    future: Future[Result] = Future()
    try:
        future.set_result(function(item))
    except Exception as error:
        future.set_exception(error)
    return future

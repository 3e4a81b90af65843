"""Batches made beside the training, a few steps ahead of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

Made = TypeVar("Made")

_AHEAD = 4  # items of each thread


class Prefetcher(Generic[Made]):
    """Makes an item for each step in other threads and gives them in order; `waited` is for how many seconds the reader
    has waited.

    Threads, not processes: datasets read a memory map and work in NumPy, which lets other threads run meanwhile. What
    `make` raises comes out of the iteration.
    """

    def __init__(self, make: Callable[[int], Made], steps: Iterable[int], *, threads: int = 1) -> None:
        self._make = make
        self._steps = iter(steps)
        self._threads = threads
        self.waited = 0.0

    def __iter__(self) -> Iterator[tuple[int, Made]]:
        pool = ThreadPoolExecutor(self._threads, "prefetcher")
        try:
            waiting: deque[tuple[int, Future[Made]]] = deque()
            waiting.extend(
                (step, pool.submit(self._make, step)) for step in islice(self._steps, _AHEAD * self._threads)
            )
            while waiting:
                step, future = waiting.popleft()
                started = time.perf_counter()
                item = future.result()
                self.waited += time.perf_counter() - started
                waiting.extend((next_, pool.submit(self._make, next_)) for next_ in islice(self._steps, 1))
                yield step, item
        finally:
            pool.shutdown(cancel_futures=True)

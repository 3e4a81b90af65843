"""A function of many items, worked out by the nodes of the cluster; results come in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from .connection import VARIABLE, ClusterError, Place, connected, described, importable, nodes, shared_place

Item = TypeVar("Item")
Result = TypeVar("Result")

# By Ray, of an item whose process or node died, also of one whose result went with its node.
_RETRIES = 1
_END = object()


class Died(Exception):
    """The process that worked on an item died, each time that it was tried, in the end alone."""


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, processes: int, ahead: int, join_in: bool = False
) -> Iterator[tuple[Item, Result | Died]]:
    """`function(item)` for each item, in up to `processes` processes, a CPU each, with `ahead` items for each at once.

    With `join_in` this process works on the next item that it has not handed out, rather than wait for a result.
    Raises what the function raises, and ClusterError where the cluster has no CPUs or does not share this folder.
    """
    with connected() as ray, shared_place() as place:
        cpus = int(sum(resources.get("CPU", 0) for _, resources in nodes(ray)))
        if not cpus:
            raise ClusterError(f"{VARIABLE}: no CPU is there to work on items; the cluster has {described(ray)}")
        window = min(processes, cpus) * ahead
        work = ray.remote(num_cpus=1, max_retries=_RETRIES)(_in_place)
        sent = ray.put((place, importable(function)))
        unread, more = iter(items), True
        given: deque[tuple[Item, _Part]] = deque()
        while more or given:
            while more and len(given) < window:
                item = next(unread, _END)
                if item is _END:
                    more = False
                else:
                    given.append((cast(Item, item), _Part(reference=work.remote(sent, item))))
            if not given:
                break
            # As many here as are out there at the most: a first item that takes long lets no results pile up.
            while join_in and more and len(given) < 2 * window and not given[0][1].ready(ray):
                item = next(unread, _END)
                if item is _END:
                    more = False
                else:
                    given.append((cast(Item, item), _Part.here(function, cast(Item, item))))
            item, part = given.popleft()
            result: Result | Died
            try:
                result = part.result(ray)
            except _system_errors(ray):
                # It may be the item's fault, or that of what ran beside it.
                if beside := [other.reference for _, other in given if other.reference is not None]:
                    ray.wait(beside, num_returns=len(beside), fetch_local=False)
                try:
                    result = _Part(reference=work.remote(sent, item)).result(ray)
                except _system_errors(ray):
                    result = Died("the process died")
            yield item, result


class _Part:
    """An item's result: worked out here, or somewhere else."""

    def __init__(self, *, reference: Any = None, value: Any = None, error: Exception | None = None) -> None:
        self.reference, self._value, self._error = reference, value, error

    @classmethod
    def here(cls, function: Callable[[Item], Result], item: Item) -> _Part:
        """The result, or the error that is raised when those before it have been read."""
        try:
            return cls(value=function(item))
        except Exception as error:
            return cls(error=error)

    def ready(self, ray: Any) -> bool:
        return self.reference is None or bool(ray.wait([self.reference], timeout=0, fetch_local=False)[0])

    def result(self, ray: Any) -> Any:
        """Raises what the function has raised, or one of Ray's errors."""
        if self._error is not None:
            raise self._error
        if self.reference is None:
            return self._value
        try:
            return ray.get(self.reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None


def _system_errors(ray: Any) -> tuple[type[Exception], ...]:
    """Those of a worker or node that is no more."""
    errors = ray.exceptions
    return errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError, errors.OutOfMemoryError


def _in_place(sent: tuple[Place, Callable[[Item], Result]], item: Item) -> Result:
    place, function = sent
    place.enter()
    return function(item)

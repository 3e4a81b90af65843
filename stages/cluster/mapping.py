"""A function of many items, worked out by the nodes of the cluster; results come in the order of the items."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from ..paths import resume_folder
from ..progress_bar import tell
from . import arrival, place
from .arrival import Place, node_folder
from .connection import VARIABLE, ClusterError, connected, described, importable, total
from .remote import Cargo, fetch, stage_gpus

Item = TypeVar("Item")
Result = TypeVar("Result")

# By Ray, of an item whose process or node died, also of one whose result went with its node.
_RETRIES = 1
_PATIENCE = 60.0  # seconds
_END = object()
GPU = "UNROLL_GPU"  # set where an item has been lent a GPU


class Died(Exception):
    """The process that worked on an item died, each time that it was tried, in the end alone."""


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, processes: int, ahead: int, join_in: bool = False
) -> Iterator[tuple[Item, Result | Died]]:
    """`function(item)` for each item, in up to `processes` processes, a CPU each, with `ahead` items for each at once.

    With `join_in` this process works on the next item that it has not handed out, rather than wait for a result.
    A node that does not share this folder is brought the code, and the files that paths among the function's arguments
    and in the item name, or an item that is a name below such a path. Where the cluster has GPUs, an item takes the
    share of one that the stage's `meta` in dvc.yaml asks for (`num_gpus`), and runs with UNROLL_GPU=1. Raises what the
    function raises, and ClusterError where the cluster has no CPUs, or no DVC remote for such nodes.
    """
    with connected() as ray, place.opened(ray) as here:
        cpus = total(ray, "CPU")
        if not cpus:
            raise ClusterError(f"{VARIABLE}: the cluster has no CPU to work on; it has {described(ray)}")
        share = stage_gpus() if total(ray, "GPU") else 0.0
        window = min(processes, cpus) * ahead
        send = _Sender(ray, here, function, share)
        unread, more, told = iter(items), True, False
        given: deque[tuple[Item, _Part]] = deque()
        while more or given:
            while more and len(given) < window:
                item = next(unread, _END)
                if item is _END:
                    more = False
                else:
                    given.append((cast(Item, item), _Part(reference=send(item))))
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
            if not told and part.reference is not None:
                told = True
                _tell_if_it_waits(ray, part.reference)
            result: Result | Died
            try:
                result = part.result(ray)
            except _system_errors(ray):
                # It may be the item's fault, or that of what ran beside it.
                if beside := [other.reference for _, other in given if other.reference is not None]:
                    ray.wait(beside, num_returns=len(beside), fetch_local=False)
                try:
                    result = _Part(reference=send(item)).result(ray)
                except _system_errors(ray):
                    result = Died("the process died")
            yield item, result


def _tell_if_it_waits(ray: Any, first: Any) -> None:
    """Say that there is no result yet, where the first takes long: other work may hold the cluster's processors."""
    if ray.wait([first], timeout=_PATIENCE, fetch_local=False)[0]:
        return
    free = f"{int(ray.available_resources().get('CPU', 0))} of {total(ray, 'CPU')} CPUs are free"
    tell(f"unroll: cluster: no result after {_PATIENCE:.0f} s; {free}, and other work may hold the rest")


class _Sender:
    """Hands items out, with what a node that does not share this folder has to fetch for them."""

    def __init__(self, ray: Any, here: Place, function: Callable[[Any], Any], gpus: float) -> None:
        content, self._paths = place.packed(importable(function))
        self._work = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)(arrival.run_item)
        if gpus:
            here["environment"][GPU] = "1"
        self._sent = ray.put(here), ray.put(content)
        self._cargo = Cargo() if here["code"] is not None else None

    def __call__(self, item: Any) -> Any:
        """A reference to the item's result and to the parts that came with it."""
        content, paths = place.packed(item)
        files = self._cargo.files([*self._paths, *paths], item) if self._cargo else []
        return self._work.remote(*self._sent, place.packed((content, files))[0])


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
            result, parts = ray.get(self.reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        for name, content in parts.items():
            _keep(resume_folder() / name, content)
        return result


def _system_errors(ray: Any) -> tuple[type[Exception], ...]:
    """Those of a worker or node that is no more."""
    errors = ray.exceptions
    return errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError, errors.OutOfMemoryError


def _keep(path: Path, content: bytes) -> None:
    """What a node has kept of its work, where this process would have kept it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# On a node.


def work_on(here: Place, function: bytes, sent: bytes) -> tuple[Any, dict[str, bytes]]:
    """The result of an item, and the parts that were kept meanwhile, by their path in the resume folder, where that is
    not the sender's.
    """
    shared = place.enter(here)
    item, files = place.unpacked(sent)
    if not shared:
        fetch(node_folder(here), files)
    result = _function(function)(place.unpacked(item))
    own = place.own_resume()
    return result, _kept_in(own) if own else {}


@lru_cache(maxsize=1)
def _function(content: bytes) -> Callable[[Any], Any]:
    return place.unpacked(content)


def _kept_in(folder: Path) -> dict[str, bytes]:
    kept = {}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        kept[path.relative_to(folder).as_posix()] = path.read_bytes()
        path.unlink()
    return kept

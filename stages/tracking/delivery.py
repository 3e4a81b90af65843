"""From the spools to the store: all of it, once, however often either side fails.

The store alone knows what has arrived: a run is searched for before it is made, and the history of one that exists is
read before anything is added to it. So no second record is kept beside the store that could disagree with it.
A metric keeps the time, step and value of its event, so that MLflow's own primary key turns away what a lost answer
makes us send again.

Attempts of one training (the same signature) that go on from each other share a run. Steps that a later attempt
repeats stand in the history once: what had not been sent of them is left to the later attempt, and what had been sent
is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from filelock import FileLock, Timeout

from . import spool
from .spool import Event, Start

BATCH = 1000  # metrics in one request: MLflow takes no more
SECONDS_METRIC = "training_seconds"
_LOCK_SECONDS = 20.0  # another process may be at it


class StoreError(RuntimeError):
    """The store did not take a request: `refused` if it answered and will answer the same again."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class Point(NamedTuple):
    """One value of one metric, in the order of MLflow's `Metric`."""

    name: str
    value: float
    time: int  # milliseconds since 1970
    step: int


class Store(Protocol):
    """What delivery needs of a store. Every method raises StoreError, and may have worked all the same."""

    def find(self, start: Start) -> Mapping[str, tuple[str, ...]]:
        """The runs of this signature and the attempts of each, the oldest first; the newest run first."""

    def create(self, start: Start) -> str:
        """A new run that can be found by signature and attempt from its first moment on; returns its id."""

    def go_on(self, run_id: str, start: Start, attempts: Sequence[str]) -> None:
        """Note a run's attempts and that it goes on; of its first attempt, also params and data."""

    def history(self, run_id: str) -> Mapping[str, Mapping[int, float]]:
        """The values of each metric by step."""

    def log(self, run_id: str, points: Sequence[Point]) -> None:
        """Add up to BATCH points to a run's history."""

    def end(self, run_id: str, start: Start, status: str, time: int) -> None:
        """Close a run, and keep the uncommitted changes with it; a second time changes nothing."""

    def delete(self, run_id: str) -> None:
        """Take a run away."""


@dataclass(slots=True, kw_only=True)
class _Target:
    """The run of a spool, and how far this process has sent the spool."""

    run_id: str
    attempt: int  # its place among the run's attempts, from 0
    history: Mapping[str, Mapping[int, float]]  # what the run had when this process found it
    offset: int = 0
    time: int  # of the last event
    end: Event | None = None  # where the spool says how it ended


class Delivery:
    """Delivers the spools of one folder that are meant for one store."""

    def __init__(self, store: Store, store_name: str, folder: Path) -> None:
        self._store = store
        self._name = store_name
        self._folder = folder
        self._targets: dict[Path, _Target] = {}

    def run(self, *, own: Path | None = None, own_ended: bool = False) -> None:
        """Send what is new of the spools whose training is over, and of `own`; one process at a time.

        `own` is the spool of a training that goes on until `own_ended`. Raises StoreError: at once where the store is
        away, and after the other spools where it refuses one.
        """
        try:
            lock = FileLock(self._folder / "lock").acquire(timeout=_LOCK_SECONDS)
        except Timeout:
            raise StoreError("another process has been sending for a long time") from None
        with lock:
            readable, faults = spool.starts(self._folder)
            refusal = StoreError(faults[0], refused=True) if faults else None
            starts = {path: start for path, start in readable.items() if start.store == self._name}
            for path, start in starts.items():
                repeated_from = _repeated_from(start, starts.values())
                # Two attempts of one training never run at once: where a later one goes on from it, this one is over.
                over = own_ended if path == own else repeated_from is not None or not spool.is_alive(path)
                if not over and path != own:
                    continue  # its own process sends it
                try:
                    self._send(path, start, over=over, repeated_from=repeated_from)
                except StoreError as error:
                    # What was sent last may have arrived or not: the store will say.
                    self._targets.pop(path, None)
                    if not error.refused:
                        raise
                    refusal = error
                except ValueError as error:  # a line that cannot be read
                    refusal = StoreError(str(error), refused=True)
        if refusal is not None:
            raise refusal

    def _send(self, path: Path, start: Start, *, over: bool, repeated_from: int | None) -> None:
        target = self._targets.get(path) or self._targets.setdefault(path, self._find_or_create(start))
        points: list[Point] = []
        for event, offset in spool.read(path, target.offset):
            target.time = event["time"]
            if event["kind"] == "end":
                target.end = event
            elif event["kind"] == "metrics":
                at = event["at"]
                if repeated_from is None or at is None or at < repeated_from:
                    points += _new_points(event["values"], event["time"], event["step"], target.history)
            if len(points) >= BATCH:
                self._log(target.run_id, points)
                points = []
            target.offset = offset
        self._log(target.run_id, points)
        if over:
            self._close(start, target)
            path.unlink()
            del self._targets[path]

    def _find_or_create(self, start: Start) -> _Target:
        """The run of this attempt, or of the one it goes on from, else a new one. A second call finds the same run."""
        runs = self._store.find(start)
        own = [run_id for run_id, attempts in runs.items() if start.attempt in attempts]
        if not own and start.resumed_step is not None:
            own = list(runs)
        run_id = own[0] if own else self._store.create(start)
        attempts = runs.get(run_id, ())
        if start.attempt not in attempts:
            attempts = (*attempts, start.attempt)
        history = self._store.history(run_id) if own else {}
        self._store.go_on(run_id, start, attempts)
        return _Target(run_id=run_id, attempt=attempts.index(start.attempt), history=history, time=start.time)

    def _log(self, run_id: str, points: Sequence[Point]) -> None:
        for first in range(0, len(points), BATCH):
            self._store.log(run_id, points[first : first + BATCH])

    def _close(self, start: Start, target: _Target) -> None:
        """End the run: with the wall time of all its attempts, by attempt, and without a duplicate."""
        end = target.end or {"status": "KILLED", "seconds": (target.time - start.time) / 1000}
        if end["seconds"] is not None:
            known = target.history.get(SECONDS_METRIC, {})
            last = max((attempt for attempt in known if attempt < target.attempt), default=None)
            total = end["seconds"] + (known[last] if last is not None else 0.0)
            values = {SECONDS_METRIC: total}
            self._log(target.run_id, _new_points(values, target.time, target.attempt, target.history))
        self._store.end(target.run_id, start, end["status"], target.time)
        for run_id, attempts in self._store.find(start).items():
            # A request to make a run can work after we stopped waiting for it and made another.
            if run_id != target.run_id and start.attempt in attempts:
                self._store.delete(run_id)


def _repeated_from(start: Start, starts: Iterable[Start]) -> int | None:
    """The first global step that a later attempt reports in place of this one; None if there is no such attempt."""
    steps = [
        other.resumed_step
        for other in starts
        if other.resumed_step is not None
        and other.signature == start.signature
        and int(other.attempt) > int(start.attempt)
    ]
    return min(steps, default=None)


def _new_points(
    values: Mapping[str, float], time: int, step: int, history: Mapping[str, Mapping[int, float]]
) -> list[Point]:
    return [
        Point(name=name, value=value, time=time, step=step)
        for name, value in values.items()
        if step not in history.get(name, {})
    ]

"""What a training has recorded, on disk until the store has it: a file of JSON lines for each attempt.

    .resume/mlflow/SIGNATURE-ATTEMPT.jsonl
    {"kind": "start", …}                                              the fields of `Start`
    {"kind": "metrics", "time": …, "step": …, "at": …, "values": {…}}
    {"kind": "end", "time": …, "status": "FINISHED", "seconds": …}   seconds: wall time, or null if it is not known

Times are milliseconds since 1970. `at` is the newest global step when the event happened, or null before the first;
`step` is what the store shows, such as the number of an epoch. The training appends and never waits; `delivery` reads,
and removes the file when all of it has arrived. A training holds a lock on its file as long as it lives, so that
others can tell a killed attempt from one that goes on. No address of a store stands in a spool.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..paths import resume_folder
from .private import private_folder

Event = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What a run is made of, as it was when its training began."""

    task: str
    signature: str  # of the training: attempts that share it may share a run
    attempt: str  # nanoseconds since 1970, in digits: names sort by age
    resumed_step: int | None  # the first global step that this attempt reports; None: it began anew, in a new run
    store: str  # whom it is for: `store.store_name()`
    time: int  # milliseconds since 1970
    params: Mapping[str, str]
    tags: Mapping[str, str]
    data: str  # DVC's md5 of the prepared data
    data_path: str
    difference: str  # uncommitted changes as a diff; empty if there are none


class Spool:
    """The open file of a training's attempt, which this process holds until `close` or its death. One thread writes."""

    def __init__(self, start: Start, folder: Path) -> None:
        private_folder(folder)
        self.path = folder / f"{start.signature}-{start.attempt}.jsonl"
        partial = self.path.with_suffix(".partial")
        self._file = partial.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.append({"kind": "start", **asdict(start)})
        partial.rename(self.path)  # nobody sees a spool without its lock and its start

    def append(self, event: Event) -> None:
        """Add an event. It outlives this process from here on, also `kill -9`. Raises OSError."""
        self._file.write(json.dumps(event).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Let go: the training is over."""
        self._file.close()


def folder() -> Path:
    """Where the spools of this project lie."""
    return resume_folder() / "mlflow"


def new_attempt() -> str:
    """A name for an attempt that begins now."""
    return str(time.time_ns())


def pending(folder: Path) -> list[Path]:
    """The spools that hold something, the oldest attempt first."""
    return sorted(folder.glob("*-*.jsonl"), key=lambda path: int(path.stem.rpartition("-")[2]))


def is_alive(path: Path) -> bool:
    """Whether the training that writes this spool goes on."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Each event from a byte offset on, with the offset behind it. A line that was cut off is not one yet.

    Raises ValueError for a line that is no JSON.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}: byte {offset - len(line)}: {error}; remove the file") from None
            yield event, offset


def start(path: Path) -> Start:
    """What the run of a spool is made of. Raises ValueError where the file does not begin with it."""
    event, _ = next(read(path), ({}, 0))
    names = {field.name for field in fields(Start)}
    if event.get("kind") != "start" or not names <= event.keys():
        raise ValueError(f"{path}: its first line is not the start of a training; remove the file")
    return Start(**{name: event[name] for name in names})


def starts(folder: Path) -> tuple[dict[Path, Start], list[str]]:
    """The starts of the pending spools, the oldest attempt first, and what is wrong with those that cannot be read."""
    readable: dict[Path, Start] = {}
    faults = []
    for path in pending(folder):
        try:
            readable[path] = start(path)
        except ValueError as error:
            faults.append(str(error))
    return readable, faults

"""Small JSON files and whole folders: equal content gives equal bytes, nothing half-written has a final name."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_LOCK_NAME = "lock"
_PATIENCE = 1.0  # seconds of waiting for another process, after which a line says so
_POLL = 0.05  # seconds between two tries


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ValueError where the file holds anything else."""
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{path}: found {type(value).__name__}; allowed: an object")
    return value


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON with sorted keys, so that equal content gives equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, under a temporary name first; of several that write the file at once, one at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    while True:
        with temporary.open("ab") as file:
            _wait_for(file, path)
            if not _is_at(file, temporary):  # whoever had it has given it its final name
                continue
            file.truncate(0)  # what a killed process left
            file.write(text.encode())
            file.flush()
            temporary.replace(path)
            return


@contextmanager
def fresh_folder(final: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `final` when the block ends without an error.

    Of all processes of this machine one at a time is in such a block of a folder; another waits, which a line says. The
    two folders change places by renaming: there is no moment without one, unless a kill falls between the two renames,
    after which the next block brings the old one back.
    """
    work = final.with_name(f".{final.name}.partial")  # and nothing else beside `final`, which lies among DVC's outs
    new, old = work / "new", work / "old"
    with _alone_in(work, final):
        _bring_back(old, final)
        for left in work.iterdir():  # by a process that was killed
            if left.name != _LOCK_NAME:
                _remove(left)
        new.mkdir()
        try:
            yield new
            with suppress(FileNotFoundError):
                final.rename(old)
            new.rename(final)
        finally:
            _bring_back(old, final)
            _remove(new)
            _remove(old)


@contextmanager
def _alone_in(work: Path, final: Path) -> Iterator[None]:
    """A folder for the work on `final`, under a lock that lies in it and goes with it."""
    work.parent.mkdir(parents=True, exist_ok=True)
    lock = work / _LOCK_NAME
    if work.is_symlink() or work.is_file():  # no run of ours leaves one; what a link leads to is not ours to clear
        work.unlink(missing_ok=True)
    while True:
        with suppress(FileExistsError):
            work.mkdir()
        try:
            file = lock.open("ab")
        except FileNotFoundError:  # whoever had it has removed it just now
            continue
        with file:
            _wait_for(file, final)
            if not _is_at(file, lock):
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
                with suppress(OSError):  # the next one is in it already
                    work.rmdir()
            return


def _wait_for(file: IO[bytes], final: Path) -> None:
    """Lock a file; closing it lifts the lock, and so does the end of the process, however it ends."""
    import fcntl  # late: a registered model has this module too, and may be loaded where there is no flock

    began, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not told and time.monotonic() - began >= _PATIENCE:
                print(f"unroll: waiting for another run that is writing {final}", file=sys.stderr, flush=True)
                told = True
            time.sleep(_POLL)


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an opened file still has its name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _bring_back(old: Path, final: Path) -> None:
    if old.exists() and not final.exists():
        old.rename(final)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

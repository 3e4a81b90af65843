"""Corrections that are lines: `DAY.ndjson` or the like, one file a day, and `other/DAY.ndjson` for unknown classes.

All of it is called under the folder's lock, so whoever finds half a line in the file of a day knows that its writer is
dead. Files of other names are by other hands, which may be writing: they are read and never changed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from .correction import Correction

OTHER = "other"
_TORN = ".torn"  # the halves of lines that were cut off, in the folder
_DAY = re.compile(r"\d{4}-\d\d-\d\d")  # the name of a file that this module writes
_PIECE = 2**20


@dataclass(slots=True)
class _Read:
    """A file as it was when it was read last."""

    inode: int
    bytes: int


class DayFiles:
    """The files of lines in a folder, read as far as others have written them."""

    def __init__(self, folder: Path, suffix: str, identity: Callable[[bytes], str]) -> None:
        self._folder, self._suffix, self._identity = folder, suffix, identity
        self._read: dict[Path, _Read] = {}
        self._known: set[bytes] = set()
        self._told: set[tuple[Path, bytes]] = set()  # last lines without an end that a line has told of

    def catch_up(self) -> None:
        """Read what came since the last time, cut off a half line, and begin anew where a file was taken away."""
        found = {path: path.stat() for path in self._files()}
        if any(
            path not in found or found[path].st_ino != read.inode or found[path].st_size < read.bytes
            for path, read in self._read.items()
        ):
            self._read, self._known = {}, set()
        for path, stat in found.items():
            start = self._read[path].bytes if path in self._read else 0
            if stat.st_size > start:
                self._read[path] = _Read(stat.st_ino, self._take(path, start))

    def holds(self, correction: Correction, *, known: bool) -> bool:
        """Whether the same has been kept."""
        return _digest(correction.identity) in self._known

    def sizes(self, day: str) -> tuple[int, int]:
        """Bytes of the files of a day, and of those of all days."""
        sizes = {path: read.bytes for path, read in self._read.items()}
        return sum(size for path, size in sizes.items() if path.stem == day), sum(sizes.values())

    def write(self, correction: Correction, day: str, *, known: bool) -> None:
        """Append it to the file of the day. Raises OSError, and leaves the file as it was, where that cannot be."""
        folder = self._folder if known else self._folder / OTHER
        folder.mkdir(exist_ok=True)
        path = folder / f"{day}{self._suffix}"
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            before = os.fstat(descriptor)
            try:
                _write_all(descriptor, correction.content)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before.st_size)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(folder)
            sync_folder(self._folder)
        self._read[path] = _Read(before.st_ino, before.st_size + len(correction.content))
        self._known.add(_digest(correction.identity))

    def _files(self) -> Iterator[Path]:
        for folder in (self._folder, self._folder / OTHER):
            yield from (path for path in folder.glob(f"*{self._suffix}") if path.is_file() and path.name[0] != ".")

    def _take(self, path: Path, start: int) -> int:
        """Note the corrections from byte `start` on; returns where the last whole line, and then the file, ends."""
        end, rest = start, b""
        with path.open("rb") as file:
            file.seek(start)
            while piece := file.read(_PIECE):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    end += len(line) + 1
                    try:
                        self._known.add(_digest(self._identity(line)))
                    except ValueError:  # a line by another hand, of which nothing is known
                        continue
        return self._without_end(path, end, rest) if rest else end

    def _without_end(self, path: Path, end: int, rest: bytes) -> int:
        """What to do about a last line without a line end; returns where the whole lines then end."""
        if not _DAY.fullmatch(path.stem):
            if (path, rest) not in self._told:
                self._told.add((path, rest))
                _tell(f"{path}: the last line has no line end and is ignored until it has one")
            return end
        if _is_object(rest):  # all but the line end was written, by us or by hand
            with path.open("ab") as file:
                file.write(b"\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(ValueError):
                self._known.add(_digest(self._identity(rest)))
            return end + len(rest) + 1
        self._cut_off(path, end, rest)
        return end

    def _cut_off(self, path: Path, end: int, rest: bytes) -> None:
        with (self._folder / _TORN).open("ab") as torn:
            torn.write(rest + b"\n")
            torn.flush()
            os.fsync(torn.fileno())
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
        found = f"ended in an incomplete line of {len(rest):,} bytes, whose writer was stopped"
        _tell(f"{path}: {found}; moved to {self._folder / _TORN}")


def sync_folder(folder: Path) -> None:
    """Have the names of a folder's new files on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_object(line: bytes) -> bool:
    """Whether it is a whole object of JSON, of which a part is none. Of a text between tabs nobody can tell."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _tell(text: str) -> None:
    print(f"unroll: {text}", file=sys.stderr, flush=True)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _digest(identity: str) -> bytes:
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).digest()

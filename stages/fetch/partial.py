"""A partial download: the bytes that came so far, and beside them a file that says of which remote version they are.

It lies outside the folder that the file is meant for, since DVC empties that folder before it runs a stage, and stays
there until it is published, so that an interrupted fetch of many files need not fetch the finished ones again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from ..data.files import write_json
from .remote import Version


@dataclass(kw_only=True, slots=True)
class Metadata:
    """What is known of a partial. No URL: it may hold a password."""

    version: Version
    total: int | None  # bytes of the remote file
    md5: str | None  # of the remote file, where the host states it
    finished: bool = False  # nothing more is wanted
    complete: bool = False  # it is the whole remote file
    proof: str | None = None  # md5 of the remote file, where the partial began with an older version of it


class Partial:
    """The partial of the download known by `key`; `progress` gets the bytes gained, and lost as negative numbers."""

    def __init__(self, folder: Path, key: str, progress: Callable[[int], object]) -> None:
        self.path = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.partial"
        self.metadata: Metadata | None = None
        self.size = 0
        self.line_ends = 0
        self._metadata_path = self.path.with_suffix(".json")
        self._progress = progress
        self._file: BinaryIO

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open it for this process alone, with what an earlier start left. Raises BlockingIOError where it is taken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as self._file:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.path.exists() or not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat()):
                raise BlockingIOError(errno.EAGAIN, "just published by another process")
            self._restore()
            try:
                yield
            finally:
                if not self.size and not (self.metadata and self.metadata.finished):
                    self.discard()

    def _restore(self) -> None:
        self.size = self._file.seek(0, os.SEEK_END)
        self._progress(self.size)
        try:
            stored = json.loads(self._metadata_path.read_text(encoding="utf-8"))
            self.metadata = Metadata(**{**stored, "version": Version(**stored["version"])})
        except (OSError, ValueError, TypeError, KeyError):
            self.metadata = None
        if self.metadata is None or (self.metadata.total is not None and self.size > self.metadata.total):
            self.reset()
        self.line_ends = sum(chunk.count(b"\n") for chunk in self.chunks())

    def reset(self) -> None:
        """Forget all bytes and what is known of them."""
        self._progress(-self.size)
        self._file.truncate(0)
        self._metadata_path.unlink(missing_ok=True)
        self.metadata, self.size, self.line_ends = None, 0, 0

    def discard(self) -> None:
        """Forget all, and leave no file behind."""
        self.reset()
        self.path.unlink(missing_ok=True)

    def start(self, metadata: Metadata) -> None:
        """Say what the bytes that follow are of; written before the first of them."""
        self.metadata = metadata
        write_json(self._metadata_path, asdict(metadata))

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.size += len(chunk)
        self.line_ends += chunk.count(b"\n")
        self._progress(len(chunk))

    def flush(self) -> None:
        self._file.flush()

    def finish(self, *, complete: bool) -> None:
        """Say that nothing more is wanted, once the bytes are safely on the disk."""
        assert self.metadata is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self.metadata.finished, self.metadata.complete = True, complete
        write_json(self._metadata_path, asdict(self.metadata))

    def cut_to_lines(self) -> int:
        """Leave out what follows the last line feed of a finished partial; returns how many bytes did."""
        end, start = 0, 0
        for chunk in self.chunks():
            end = start + chunk.rfind(b"\n") + 1 if b"\n" in chunk else end
            start += len(chunk)
        cut = self.size - end
        if cut:
            self._file.truncate(end)
            self._progress(-cut)
            self.size = end
            self.finish(complete=False)
        return cut

    def chunks(self) -> Iterator[bytes]:
        """The bytes there are, from the first."""
        self._file.seek(0)
        while chunk := self._file.read(2**20):
            yield chunk

    def publish(self, target: Path) -> None:
        """Give the file its name, all at once, also on another file system."""
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.path.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            beside = target.with_name(f".{target.name}.partial")
            shutil.copyfile(self.path, beside)
            beside.replace(target)
            self.path.unlink()
        self._metadata_path.unlink(missing_ok=True)

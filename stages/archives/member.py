"""A member of an archive, and the meter that its bytes run through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..data.text import MAX_RATIO, RATIO_FROM


class ArchiveError(ValueError):
    """An archive that is damaged, hostile or larger than allowed; the message names it, the member and the limit."""


Kind = Literal["file", "folder", "link", "special", "encrypted"]


@dataclass(frozen=True, slots=True)
class Member:
    """A member as the archive states it; `chunks` unpacks its bytes, until the next member is asked for."""

    name: str
    kind: Kind
    chunks: Callable[[], Iterator[bytes]]


@contextmanager
def archive_errors(archive: Path) -> Iterator[None]:
    """Turn whatever the libraries raise into ArchiveError. In a generator: errors of its consumer never come here."""
    try:
        yield
    except ArchiveError:
        raise
    except FileNotFoundError:
        raise ArchiveError(f"{archive}: no such file") from None
    except NotImplementedError as error:
        raise ArchiveError(f"{archive}: compressed in a way that Python cannot unpack: {error}") from None
    except Exception as error:  # damage makes them raise anything: struct.error, IndexError, EOFError, …
        found = str(error) or type(error).__name__
        raise ArchiveError(f"{archive}: damaged, or not a zip, tar or rar: {found}") from None


class Meter:
    """Counts the bytes that come out of an archive, and refuses absurdly more than it weighs."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._weight = archive.stat().st_size
        self._count = 0

    def read(self, stream: Any, size: int) -> bytes:
        """At most `size` bytes, none at the end. Raises ArchiveError where there were too many."""
        chunk: bytes = stream.read(size)
        self._count += len(chunk)
        if self._count > max(RATIO_FROM, MAX_RATIO * self._weight):
            limit = f"{MAX_RATIO} times the archive's {self._weight:,} bytes"
            raise ArchiveError(f"{self._archive}: unpacks to more than {limit}; refused as a decompression bomb")
        return chunk

    def chunks(self, open_: Callable[[], Any]) -> Iterator[bytes]:
        """All bytes of the stream that `open_` gives. Raises ArchiveError."""
        with archive_errors(self._archive), open_() as stream:
            while chunk := self.read(stream, 2**20):
                yield chunk

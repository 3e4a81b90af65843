"""A member of an archive, and the meter that its bytes run through."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

RATIO = 250  # bytes unpacked for one of the archive: text packs to 3 to 20, deflate cannot reach 1,033, bombs do
RATIO_FROM = 2**24  # bytes unpacked, below which the ratio does not matter


class ArchiveError(ValueError):
    """An archive that is damaged, hostile or larger than allowed; the message names it, the member and the limit."""


Kind = Literal["file", "folder", "link", "special"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A member as the archive states it; `open` gives its bytes, until the next member is asked for."""

    name: str
    size: int
    kind: Kind
    encrypted: bool
    open: Callable[[], io.RawIOBase]


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Turn whatever the libraries raise into one kind of error; around their calls only."""
    try:
        yield
    except ArchiveError:
        raise
    except FileNotFoundError:
        raise ArchiveError(f"{archive}: no such file") from None
    except NotImplementedError as error:
        raise ArchiveError(f"{archive}: packed in a way that Python cannot unpack: {error}") from None
    except Exception as error:  # damage makes them raise anything: struct.error, IndexError, EOFError, …
        found = str(error) or type(error).__name__
        raise ArchiveError(f"{archive}: damaged, or no zip, tar or rar: {found}") from None


class Meter(io.RawIOBase):
    """A stream whose bytes are counted in `counts[0]`, together with those of the archive's other streams."""

    def __init__(self, stream: IO[bytes], archive: Path, counts: list[int]) -> None:
        self._stream, self._archive, self._counts = stream, archive, counts
        self._limit = max(RATIO_FROM, RATIO * archive.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with reading(self._archive):
            chunk = self._stream.read(len(buffer))
        self._counts[0] += len(chunk)
        if self._counts[0] > self._limit:
            limit = f"{RATIO} times the archive's {self._archive.stat().st_size:,} bytes"
            raise ArchiveError(f"{self._archive}: unpacks to more than {limit}; refused as a bomb")
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._stream.close()
        super().close()

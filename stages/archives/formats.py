"""What stands in a zip, tar or rar archive, member after member, in the archive's order and in one pass.

Nothing here trusts a header: bytes are metered as they are unpacked, and an archive that unpacks to absurdly more than
it weighs is refused while that happens.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

RATIO = 250  # bytes unpacked for one of the archive: text packs to 3 to 20, deflate cannot reach 1,033, bombs do
RATIO_FROM = 2**24  # bytes unpacked, below which the ratio does not matter
_LONGEST_HEADER = 2**20  # bytes


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
def opened(archive: Path) -> Iterator[Iterator[Entry]]:
    """The members of an archive, whatever its name ends in. Raises ArchiveError where it is none or cannot be read."""
    with reading(archive):
        file = archive.open("rb")
    with file:
        with reading(archive):
            start = file.read(512)
            file.seek(0)
        if start.startswith(b"Rar!\x1a\x07"):
            from .rar import rar_entries

            found = rar_entries(archive)
        elif start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            found = _zip_entries(archive, file)
        else:
            found = _tar_entries(archive, file, start)
        try:
            yield _guarded(archive, found)
        finally:
            found.close()


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


def _guarded(archive: Path, found: Iterator[Entry]) -> Iterator[Entry]:
    while True:
        with reading(archive):
            entry = next(found, None)
        if entry is None:
            return
        yield entry


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


def _zip_entries(archive: Path, file: IO[bytes]) -> Generator[Entry]:
    counts = [0]
    with zipfile.ZipFile(file) as content:
        for info in content.infolist():

            def unpack(info: zipfile.ZipInfo = info) -> io.RawIOBase:
                with reading(archive):
                    return Meter(content.open(info), archive, counts)

            encrypted = bool(info.flag_bits & 1)
            yield Entry(name=info.filename, size=info.file_size, kind=_zip_kind(info), encrypted=encrypted, open=unpack)


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: the attributes are Unix's
    if mode == stat.S_IFLNK:
        return "link"
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "special"
    return "folder" if info.is_dir() else "file"


def _tar_entries(archive: Path, file: IO[bytes], start: bytes) -> Generator[Entry]:
    unpacked = next((open_(file) for magic, open_ in _UNPACK.items() if start.startswith(magic)), file)
    metered: Any = io.BufferedReader(Meter(unpacked, archive, [0]))
    with tarfile.open(fileobj=metered, mode="r|", tarinfo=_Header) as content:
        for info in content:
            content.members = []  # type: ignore[attr-defined]  # it would keep them all

            def unpack(info: tarfile.TarInfo = info) -> io.RawIOBase:
                stream = content.extractfile(info)
                assert stream is not None
                return Meter(stream, archive, [0])

            yield Entry(name=info.name, size=info.size, kind=_tar_kind(info), encrypted=False, open=unpack)
    while metered.read(2**20):
        pass  # to the end, where gzip and its like have the only checksum there is


def _tar_kind(info: tarfile.TarInfo) -> Kind:
    if info.isdir():
        return "folder"
    if info.issym() or info.islnk():
        return "link"
    return "file" if info.isreg() and not info.issparse() else "special"


_UNPACK: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}

# Headers whose content tells the name or attributes of the next one; tarfile reads it as a whole.
_DESCRIBING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Header(tarfile.TarInfo):
    """A tar header that says what is wrong with it; tarfile would take a damaged one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end mark
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} where a member or the end mark should stand") from None
        if header.type in _DESCRIBING and header.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header

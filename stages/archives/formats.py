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
from pathlib import Path
from typing import IO, Any

from .entries import Entry, Kind, Meter, reading
from .rar import rar_entries

_LONGEST_HEADER = 2**20  # bytes

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
            found = rar_entries(archive)
        elif start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            found = _zip_entries(archive, file)
        else:
            found = _tar_entries(archive, file, start)
        try:
            yield _guarded(archive, found)
        finally:
            found.close()


def _guarded(archive: Path, found: Iterator[Entry]) -> Iterator[Entry]:
    while True:
        with reading(archive):
            entry = next(found, None)
        if entry is None:
            return
        yield entry


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

"""The members of zip, tar and rar archives, in the archive's order and in one pass.

Nothing here trusts a header: bytes are metered as they are unpacked, and an archive that unpacks to absurdly more than
it weighs is refused while that happens.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from .member import Kind, Member, Meter, archive_errors
from .rar import rar_members

_MAX_HEADER = 2**20  # bytes
_ZIP, _RAR = (b"PK\x03\x04", b"PK\x05\x06"), b"Rar!\x1a\x07"

_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], Any]] = {
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


def is_archive(path: Path) -> bool:
    """Whether a file is a zip, a rar, or a tar, packed or not: by its first bytes, of which no more than one header is
    unpacked. Raises ArchiveError where these are damaged.
    """
    with path.open("rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
        if start.startswith((*_ZIP, _RAR)):
            return True
        file.seek(0)
        if unpacker := _unpacker(start):
            with archive_errors(path):
                start = unpacker(file).read(tarfile.BLOCKSIZE)
    try:
        tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _unpacker(start: bytes) -> Callable[[IO[bytes]], Any] | None:
    return next((open_ for magic, open_ in _DECOMPRESSORS.items() if start.startswith(magic)), None)


def read_members(archive: Path) -> Generator[Member]:
    """The members of an archive, whatever its name ends in. Raises ArchiveError where it is none or cannot be read."""
    with archive_errors(archive), archive.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        if start.startswith(_RAR):
            yield from rar_members(archive)
        elif start.startswith(_ZIP):
            yield from _zip_members(archive, file)
        else:
            yield from _tar_members(archive, file, start)


def _zip_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    meter = Meter(archive)
    with zipfile.ZipFile(file) as content:
        for info in content.infolist():
            yield Member(info.filename, _zip_kind(info), partial(meter.chunks, partial(content.open, info)))


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: the attributes are Unix's
    if mode == stat.S_IFLNK:
        return "link"
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "special"
    if info.is_dir():
        return "folder"
    return "encrypted" if info.flag_bits & 1 else "file"


def _tar_members(archive: Path, file: IO[bytes], start: bytes) -> Iterator[Member]:
    unpacker = _unpacker(start)
    unpacked = unpacker(file) if unpacker else file
    metered: Any = SimpleNamespace(read=partial(Meter(archive).read, unpacked))
    with tarfile.open(fileobj=metered, mode="r|", tarinfo=_Header) as content:
        for info in content:
            content.members = []  # type: ignore[attr-defined]  # it would keep them all
            chunks = partial(Meter(archive).chunks, partial(content.extractfile, info))
            yield Member(info.name, _tar_kind(info), chunks)
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
            raise tarfile.ReadError(f"{error} in place of a member or the end mark") from None
        if header.type in _DESCRIBING and header.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header

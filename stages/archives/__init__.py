"""Archives from outside: unpacked without a member leaving the folder, a link, a surprise or a flood.

An archive is refused as a whole or unpacked as a whole: what was refused leaves nothing behind.
"""

from __future__ import annotations

import filecmp
import io
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from .entries import ArchiveError, Entry
from .formats import opened

__all__ = ["ArchiveError", "Member", "check_can_unpack", "extract", "members", "open_member"]

_LONGEST_PART, _LONGEST_NAME = 255, 1024  # bytes of UTF-8 that file systems take


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its name with forward slashes, its size in bytes as the archive states it."""

    name: str
    size: int


def check_can_unpack(name: str) -> None:
    """Raises ArchiveError where an archive of this name needs a program that is not installed: to be asked before it
    is fetched. (A rar that holds its files as they are needs none.)
    """
    if name.lower().endswith(".rar"):
        from .rar import tool

        tool(name)


def members(archive: Path, *, max_files: int = 1_000_000) -> list[Member]:
    """The files in a zip, tar (gz, bz2, xz) or rar, sorted by name, without junk. Raises ArchiveError as `extract`."""
    with opened(archive) as entries:
        found = [Member(name, entry.size) for name, entry in _files(archive, entries, max_files, None)]
    return sorted(found, key=lambda member: member.name)


def extract(
    archive: Path, folder: Path, *, max_bytes: int, max_files: int, wanted: Callable[[str], bool] | None = None
) -> list[Path]:
    """Unpack a zip, tar (gz, bz2, xz) or rar into `folder`; returns the files written, sorted.

    `wanted` chooses by name (forward slashes); `max_bytes`, counted while unpacking, and `max_files` bound what is
    chosen. `__MACOSX`, `.DS_Store` and `._*` are passed over. Refused, with ArchiveError: a name that is absolute or
    holds `..` or a control character, also where it is not wanted; two members of one name; links, devices, encrypted
    members; what is damaged; what unpacks to absurdly more than it weighs; a file that is already there with
    other content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".extracting-", dir=folder))
    written, names = 0, []
    try:
        with (
            opened(archive) as entries,
            tqdm(desc=f"unpack {archive.name}", unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar,
        ):
            for name, entry in _files(archive, entries, max_files, wanted):
                names.append(name)
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.exists():  # where the disk takes upper and lower case for the same
                    raise ArchiveError(f"{archive}: {name}: stands twice, but for upper and lower case")
                with entry.open() as source, path.open("xb") as target:
                    while chunk := source.read(2**20):
                        written += len(chunk)
                        if written > max_bytes:
                            raise ArchiveError(f"{archive}: {name}: more than the {max_bytes:,} bytes allowed in all")
                        target.write(chunk)
                        bar.update(len(chunk))
        return _publish(archive, staging, folder, sorted(names))
    finally:
        shutil.rmtree(staging)


@contextmanager
def open_member(archive: Path, name: str, *, max_bytes: int) -> Iterator[IO[bytes]]:
    """One file of an archive as a stream, unpacked while it is read; reading over `max_bytes` raises ArchiveError."""
    with opened(archive) as entries:
        for found, entry in _files(archive, entries, 1, lambda candidate: candidate == name):
            with entry.open() as source:
                yield io.BufferedReader(_Bounded(source, f"{archive}: {found}", max_bytes))
            return
    raise ArchiveError(f"{archive}: expected a file {name!r} in it, found none")


def _publish(archive: Path, staging: Path, folder: Path, names: list[str]) -> list[Path]:
    """Give the unpacked files their names, each all at once."""
    home = folder.resolve()
    for name in names:
        target = folder / name
        if not target.parent.resolve().is_relative_to(home):
            raise ArchiveError(f"{archive}: {name}: {target.parent} leads out of {folder}")
        if target.exists() and not (target.is_file() and filecmp.cmp(staging / name, target, shallow=False)):
            raise ArchiveError(f"{archive}: {name}: {target} is there already, with other content")
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(target)
    return sorted(folder / name for name in names)


def _files(
    archive: Path, entries: Iterator[Entry], max_files: int, wanted: Callable[[str], bool] | None
) -> Iterator[tuple[str, Entry]]:
    """The wanted files with their checked names."""
    files: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        name = _safe_name(archive, entry.name)
        if not name or _is_junk(name) or entry.kind == "folder" or (wanted is not None and not wanted(name)):
            continue
        if entry.kind != "file" or entry.encrypted:
            found = "encrypted" if entry.encrypted else f"a {entry.kind}" if entry.kind == "link" else "no usual file"
            raise ArchiveError(f"{archive}: {name}: found {found}; allowed are plain files")
        parents = {name[: match.start()] for match in re.finditer("/", name)}
        if name in files or name in folders or files & parents:
            raise ArchiveError(f"{archive}: {name}: stands twice; allowed is one member of a name")
        files.add(name)
        folders |= parents
        if len(files) > max_files:
            raise ArchiveError(f"{archive}: more than the {max_files:,} files allowed")
        yield name, entry


def _safe_name(archive: Path, raw: str) -> str:
    """The name with forward slashes, without empty parts and dots. Raises ArchiveError where it could do harm."""
    path = raw.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    try:
        sizes = [len(part.encode("utf-8")) for part in parts]
    except UnicodeEncodeError:
        raise ArchiveError(f"{archive}: {raw!r}: found a name that is no UTF-8") from None
    if path.startswith("/") or (parts and re.fullmatch("[A-Za-z]:.*", parts[0])):
        raise ArchiveError(f"{archive}: {raw!r}: found an absolute name; allowed are names inside the archive")
    if ".." in parts:
        raise ArchiveError(f"{archive}: {raw!r}: found a name with ..; allowed are names inside the archive")
    if any(unicodedata.category(letter) == "Cc" for letter in path):
        raise ArchiveError(f"{archive}: {raw!r}: found a control character in a name")
    if max(sizes, default=0) > _LONGEST_PART or sum(sizes) + len(sizes) > _LONGEST_NAME:
        raise ArchiveError(f"{archive}: {raw[:40]!r}…: found a name that is longer than file systems take")
    return "/".join(parts)


def _is_junk(name: str) -> bool:
    """Whether it is what macOS leaves in archives."""
    parts = name.split("/")
    return "__MACOSX" in parts or any(part == ".DS_Store" or part.startswith("._") for part in parts)


class _Bounded(io.RawIOBase):
    """A stream that raises once more than `limit` bytes come out of it."""

    def __init__(self, stream: io.RawIOBase, name: str, limit: int) -> None:
        self._stream, self._name, self._limit = stream, name, limit
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer) or 0
        self._count += count
        if self._count > self._limit:
            raise ArchiveError(f"{self._name}: more than the {self._limit:,} bytes allowed")
        return count

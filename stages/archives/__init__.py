"""Untrusted archives, unpacked within bounds: no member leaves the folder, no links, no bombs.

An archive is refused as a whole or unpacked as a whole: what was refused leaves nothing behind. `formats` and `rar`
list an archive's members, `member` meters their bytes. A bound that is raised here is raised for every download.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from ..progress_bar import BYTES, ProgressBar
from .formats import is_archive, read_members
from .member import ArchiveError, Member
from .rar import find_tool

__all__ = ["ArchiveError", "check_can_unpack", "extract", "is_archive"]

_MAX_PART, _MAX_NAME = 255, 1024  # bytes of UTF-8 that file systems take
_REFUSED = {"link": "a link", "special": "a special file", "encrypted": "encrypted"}


def check_can_unpack(name: str) -> None:
    """Before a download: raises ArchiveError where an archive of this name needs a program that is not installed.

    A rar that holds its files as they are needs none.
    """
    if name.lower().endswith(".rar"):
        find_tool(name)


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
            closing(read_members(archive)) as members,
            ProgressBar(f"unpack {archive.name}", unit=BYTES) as bar,
        ):
            for name, member in _files(archive, members, max_files, wanted):
                names.append(name)
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.exists():  # where the disk takes upper and lower case for the same
                    raise ArchiveError(f"{archive}: {name}: another member differs only in upper and lower case")
                with path.open("xb") as target:
                    for chunk in member.chunks():
                        written += len(chunk)
                        if written > max_bytes:
                            raise ArchiveError(f"{archive}: {name}: more than the {max_bytes:,} bytes allowed in total")
                        target.write(chunk)
                        bar.update(len(chunk))
        return _publish(archive, staging, folder, sorted(names))
    finally:
        shutil.rmtree(staging)


def _publish(archive: Path, staging: Path, folder: Path, names: list[str]) -> list[Path]:
    """Give the unpacked files their names, each all at once."""
    home = folder.resolve()
    for name in names:
        target = folder / name
        if not target.parent.resolve().is_relative_to(home):
            raise ArchiveError(f"{archive}: {name}: {target.parent} leads outside {folder}")
        if target.exists() and not (target.is_file() and filecmp.cmp(staging / name, target, shallow=False)):
            raise ArchiveError(f"{archive}: {name}: {target} already exists with different content")
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(target)
    return sorted(folder / name for name in names)


def _files(
    archive: Path, members: Iterable[Member], max_files: int, wanted: Callable[[str], bool] | None
) -> Iterator[tuple[str, Member]]:
    """The wanted files with their checked names."""
    files: set[str] = set()
    folders: set[str] = set()
    for member in members:
        name = _safe_name(archive, member.name)
        if not name or _is_junk(name) or member.kind == "folder" or (wanted is not None and not wanted(name)):
            continue
        if member.kind != "file":
            raise ArchiveError(f"{archive}: {name}: found {_REFUSED[member.kind]}; allowed: regular files")
        parents = {str(parent) for parent in PurePosixPath(name).parents} - {"."}
        if name in files or name in folders or files & parents:
            raise ArchiveError(f"{archive}: {name}: found twice; allowed: one member per name")
        files.add(name)
        folders |= parents
        if len(files) > max_files:
            raise ArchiveError(f"{archive}: more than the {max_files:,} files allowed")
        yield name, member


def _safe_name(archive: Path, raw: str) -> str:
    """The name with forward slashes, without empty parts and dots. Raises ArchiveError where it could do harm."""
    path = raw.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    try:
        sizes = [len(part.encode("utf-8")) for part in parts]
    except UnicodeEncodeError:
        raise ArchiveError(f"{archive}: {raw!r}: found a name that is not UTF-8") from None
    if path.startswith("/") or (parts and re.fullmatch("[A-Za-z]:.*", parts[0])):
        raise ArchiveError(f"{archive}: {raw!r}: found an absolute name; allowed: names relative to the archive")
    if ".." in parts:
        raise ArchiveError(f"{archive}: {raw!r}: found a name with ..; allowed: names without it")
    if any(unicodedata.category(letter) == "Cc" for letter in path):
        raise ArchiveError(f"{archive}: {raw!r}: found a control character in a name")
    if max(sizes, default=0) > _MAX_PART or sum(sizes) + len(sizes) > _MAX_NAME:
        raise ArchiveError(f"{archive}: {raw[:40]!r}…: found a name longer than file systems allow")
    return "/".join(parts)


def _is_junk(name: str) -> bool:
    """Whether it is what macOS leaves in archives."""
    parts = name.split("/")
    return "__MACOSX" in parts or any(part == ".DS_Store" or part.startswith("._") for part in parts)

"""Archives (interface; the hardened body follows within the hour)."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO


class ArchiveError(ValueError):
    """An archive that is damaged, hostile or larger than allowed; the message names it, the member and the limit."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its name with forward slashes, its size in bytes as the archive states it."""

    name: str
    size: int


def _junk(name: str) -> bool:
    parts = name.split("/")
    return "__MACOSX" in parts or any(p == ".DS_Store" or p.startswith("._") for p in parts)


def members(archive: Path, *, max_files: int = 1_000_000) -> list[Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as z:
            found = [Member(i.filename, i.file_size) for i in z.infolist() if not i.is_dir()]
    else:
        with tarfile.open(archive) as t:
            found = [Member(m.name, m.size) for m in t if m.isfile()]
    return sorted((m for m in found if not _junk(m.name)), key=lambda m: m.name)


def extract(
    archive: Path, folder: Path, *, max_bytes: int, max_files: int, wanted: Callable[[str], bool] | None = None
) -> list[Path]:
    written = []
    for member in members(archive, max_files=max_files):
        if wanted is None or wanted(member.name):
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member(archive, member.name, max_bytes=max_bytes) as source:
                target.write_bytes(source.read())
            written.append(target)
    return sorted(written)


@contextmanager
def open_member(archive: Path, name: str, *, max_bytes: int) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as z, z.open(name) as stream:
            yield stream
    else:
        with tarfile.open(archive) as t:
            stream2 = t.extractfile(name)
            assert stream2 is not None
            with stream2:
                yield stream2

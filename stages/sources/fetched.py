"""`.fetched/`: files as hosts sent them, by hash, and which version of which address they are.

It lies in the main checkout, shared by its worktrees and outside DVC's outs, and may be deleted at any time. What it no
longer has is looked for in DVC's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..data.files import write_text
from ..fetch import Request, check_protocol, fetch_all, from_environment, redacted
from ..fetch.remote import Stated, Version
from ..paths import by_last_use, delete_least_used, delete_older, project_root
from .dvc_cache import cache_folder_or_none, cache_path
from .pins import Content, content_from

FOLDER = ".fetched"
MAX_BYTES = 20 * 10**9  # of files, beyond those that the newest pins name; the least recently used go first
_REMEMBERED = 8  # versions of an address
_KEPT_PINS = 50  # of all tasks
_ABANDONED = 7 * 24 * 3600.0  # seconds after which what is half fetched is given up
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class _Known:
    """A version of an address, as its host named it, and what it holds."""

    etag: str | None
    modified: str | None
    size: int | None
    content: Content

    def differs_from(self, stated: Stated) -> bool:
        pairs = ((self.modified, stated.version.modified), (self.size, stated.size))
        return any(mine is not None and theirs is not None and mine != theirs for mine, theirs in pairs)


class Fetched:
    """The cache of a checkout and its worktrees."""

    def __init__(self, checkout: Path = Path()) -> None:
        self.folder = project_root(checkout) / FOLDER

    def find(self, content: Content, *, raw: Path | None = None) -> Path | None:
        """A file that holds just this, here, in DVC's cache or at `raw`; None where none does.

        What is damaged here is dropped, which a line on standard error says.
        """
        for path in self._places(content, raw):
            if path.stat().st_size == content.bytes and _sha256(path) == content.sha256:
                return path
            self._drop_damaged(path, content)
        return None

    def holds(self, content: Content) -> bool:
        """Whether a file of this name and size is here or in DVC's cache; its hash is not looked at."""
        return any(path.stat().st_size == content.bytes for path in self._places(content))

    def copy(self, content: Content, target: Path) -> bool:
        """Write this content to `target`; False where it is nowhere, or nowhere what its name says."""
        if not content.bytes:  # no host need be asked for nothing
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"")
            return True
        for source in self._places(content):
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with source.open("rb") as read, target.open("wb") as write:
                while piece := read.read(_PIECE):
                    digest.update(piece)
                    write.write(piece)
            if digest.hexdigest() == content.sha256:
                return True
            target.unlink()
            self._drop_damaged(source, content)
        return False

    def lookup(self, request: Request, stated: Stated) -> Content | None:
        """What is known to be the content of this version, also where the file itself has gone."""
        found = self._versions(request).get(_version_key(stated))
        return found.content if found and stated.version.known else None

    def contradicts(self, request: Request, stated: Stated) -> bool:
        """Whether the host has called another version of this address by the same ETag: one of another size or time."""
        return bool(stated.version.etag) and any(
            known.etag == stated.version.etag and known.differs_from(stated)
            for known in self._versions(request).values()
        )

    def remember(self, request: Request, stated: Stated, content: Content) -> None:
        """Note that this version has this content."""
        versions = self._versions(request)
        versions.pop(_version_key(stated), None)
        version = stated.version
        versions[_version_key(stated)] = _Known(version.etag, version.modified, stated.size, content)
        kept = {key: asdict(known) for key, known in list(versions.items())[-_REMEMBERED:]}
        write_text(self._index(request), json.dumps(kept, indent=1) + "\n")

    def fetch(self, requests: Sequence[Request]) -> list[tuple[Content, Version]]:
        """Fetch files into the cache; what came, and of which version, in their order. Raises DownloadError."""
        incoming = self.folder / "incoming"
        # Names that the next run finds again: what came before an interruption is not fetched twice.
        moved = [replace(request, target=incoming / self._address(request, request.length)) for request in requests]
        record = incoming / f"{uuid.uuid4().hex}.json"
        try:
            fetch_all(moved, record, partials=self.folder / "partial")
            entries = {entry["file"]: entry for entry in json.loads(record.read_text(encoding="utf-8"))}
        finally:
            record.unlink(missing_ok=True)
        return [self._keep(request.target, entries[request.target.name]) for request in moved]

    def keep(self, path: Path, *, complete: bool) -> Content:
        """Take a file over into the cache."""
        content = replace(content_of(path), complete=complete)
        final = self._path(content.sha256)
        final.parent.mkdir(parents=True, exist_ok=True)
        path.replace(final)
        return content

    def prune(self, keep: set[str]) -> None:
        """Delete the least recently used files beyond MAX_BYTES, but none of the hashes to `keep`."""
        delete_least_used((path for path in self.folder.glob("content/*/*") if path.name not in keep), MAX_BYTES)
        for folder in ("incoming", "partial"):
            delete_older(self.folder.glob(f"{folder}/*"), _ABANDONED)

    def lock(self, task: str) -> FileLock:
        """Held while a task's source is asked or fetched."""
        (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "locks" / f"{task}.lock")

    def keep_pin(self, text: str) -> None:
        """Keep the text of a pin, so that the plan can say what has changed since."""
        write_text(self._pin(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()), text)
        for _, path, _ in by_last_use(self.folder.glob("pins/*.json"))[:-_KEPT_PINS]:
            path.unlink(missing_ok=True)

    def pin(self, md5: str) -> str | None:
        """The text of a pin that was kept, by its md5, as dvc.lock names it."""
        path = self._pin(md5)
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def _places(self, content: Content, raw: Path | None = None) -> Iterator[Path]:
        """The files that may hold it, the nearest first."""
        here = self._path(content.sha256)
        if here.is_file():
            os.utime(here)  # it is used
            yield here
        cache = cache_folder_or_none()
        in_dvc = cache_path(cache, content.md5) if cache else None
        yield from (path for path in (in_dvc, raw) if path and path.is_file())

    def _drop_damaged(self, path: Path, content: Content) -> None:
        """Only what is here is dropped: DVC's cache, and a raw folder, are DVC's."""
        if path == self._path(content.sha256):
            path.unlink(missing_ok=True)
            print(f"unroll: {path} no longer has the hash in its name; removed", file=sys.stderr)

    def _keep(self, path: Path, entry: dict[str, Any]) -> tuple[Content, Version]:
        version = Version(etag=entry["etag"], generation=entry["generation"])
        return self.keep(path, complete=entry["complete"]), version

    def _path(self, sha256: str) -> Path:
        return self.folder / "content" / sha256[:2] / sha256

    def _pin(self, md5: str) -> Path:
        return self.folder / "pins" / f"{md5}.json"

    def _address(self, request: Request, length: int | None = None) -> str:
        key = f"{from_environment(request.url)}\n{request.part}\n{length}"  # hashed: it may hold a password
        return hashlib.sha256(key.encode()).hexdigest()

    def _index(self, request: Request) -> Path:
        return self.folder / "versions" / f"{self._address(request)}.json"

    def _versions(self, request: Request) -> dict[str, _Known]:
        """By their keys; what is damaged, or of an older format, is not there."""
        try:
            found = json.loads(self._index(request).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = {key: _known(value) for key, value in found.items()} if isinstance(found, dict) else {}
        return {key: one for key, one in known.items() if one is not None}


def content_of(path: Path) -> Content:
    """The hashes of a file and, of a text, its lines."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size, lines = 0, 0
    text: bool | None = None
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            text = b"\0" not in piece and not piece.startswith(b"\x1f\x8b") if text is None else text
            md5.update(piece)
            sha256.update(piece)
            size += len(piece)
            lines += piece.count(b"\n") if text else 0
    lines_or_none = lines if text is not False else None
    return Content(bytes=size, sha256=sha256.hexdigest(), md5=md5.hexdigest(), lines=lines_or_none)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prefix_sha256(path: Path, length: int) -> str:
    """The sha256 of a file's first `length` bytes."""
    digest, left = hashlib.sha256(), length
    with path.open("rb") as file:
        while left and (piece := file.read(min(left, _PIECE))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def _known(value: object) -> _Known | None:
    try:
        if not isinstance(value, dict):
            return None
        return _Known(value["etag"], value["modified"], value["size"], content_from(value["content"], "content"))
    except (KeyError, ValueError):
        return None


def _version_key(stated: Stated) -> str:
    return hashlib.sha256(json.dumps([asdict(stated.version), stated.size]).encode()).hexdigest()


def name_of(request: Request, folder: Path) -> str:
    """A file's name in the raw folder."""
    return request.target.relative_to(folder).as_posix()


def shown(request: Request) -> str:
    """A request's address as pins name it: with `${NAME}` as it is written."""
    return redacted(check_protocol(request.address))

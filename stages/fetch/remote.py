"""What a host is to a download: it is asked for the bytes of a URL from an offset on, and gives a reply or an error.

The errors say what may follow: `Interrupted` (try again), `Stale` (what was read so far cannot be continued) or
`DownloadError` (final). `Files` reads everything that fsspec does (file, s3, gs, …); HTTP stands in web.py.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import fsspec

_PIECE = 2**23  # bytes asked of fsspec at a time
_HINTS = {"NoCredentialsError": "for a public bucket set FSSPEC_S3='{\"anon\": true}' in the environment"}

Result = TypeVar("Result")


class DownloadError(ValueError):
    """A file could not be fetched; one line that names its URL, what was expected and what was found."""


class Interrupted(Exception):
    """An attempt failed in a way that may pass. `wait`: seconds the host asks for; `unreachable`: nobody answered."""

    def __init__(self, reason: str, *, wait: float | None = None, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.unreachable = unreachable


class Stale(Exception):
    """The bytes read so far cannot be continued with this host; begin anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What tells one version of a remote file from the next, as far as the host says."""

    etag: str | None = None
    generation: str | None = None
    modified: str | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range accepts: a strong ETag, else the time of the last change."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def differs(self, other: Version) -> bool:
        """Whether both say something and it is not the same; a 206 may leave parts out."""
        pairs = ((self.etag, other.etag), (self.generation, other.generation), (self.modified, other.modified))
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """The bytes from `start` to `stop` (None: to the end) of a file of `total` bytes (None: unknown)."""

    start: int
    stop: int | None
    total: int | None
    version: Version
    md5: str | None  # of the whole file, in hexadecimal, only where the host states it for certain
    chunks: Iterator[bytes]


class Remote(Protocol):
    """A way to read URLs."""

    def read(self, url: str, start: int, stop: int | None, version: Version | None) -> AbstractContextManager[Reply]:
        """Ask for the bytes `start` to `stop`; `version` is the one that the bytes before `start` came from.

        The reply may begin at 0 all the same, where the host ignores ranges or the file has changed.
        """


def public(url: str) -> str:
    """The URL as it may be shown and recorded: without user, password, query and fragment, which may hold secrets."""
    parts = (re.sub(r"(?<=://)[^/?#]*@", "", part) for part in url.split("::"))  # fsspec chains URLs with ::
    return "::".join(part if _is_path(part) else re.sub(r"[?#].*", "", part, flags=re.DOTALL) for part in parts)


def from_environment(url: str) -> str:
    """A URL with `${NAME}` replaced from the environment: where a password or a signature comes from."""

    def value(found: re.Match[str]) -> str:
        if (secret := os.environ.get(found[1])) is None:
            raise DownloadError(f"{public(url)}: the environment has no {found[1]}, which the address asks for")
        return secret

    return re.sub(r"\$\{(\w+)\}", value, url)


def _is_path(url: str) -> bool:
    """Whether ? and # are ordinary letters in it."""
    return "://" not in url or url.startswith(("file://", "local://", "memory://"))


class Files:
    """Every other URL and plain paths, by fsspec, in pieces."""

    def __init__(self, *, idle: float) -> None:
        self._idle = idle

    @contextmanager
    def read(self, url: str, start: int, stop: int | None, version: Version | None) -> Iterator[Reply]:
        system, path = _asked(url, partial(fsspec.url_to_fs, url))
        now, total, md5 = self._describe(url, system, path)
        if start and (version is None or version.differs(now)):
            start, stop = 0, None
        end = total if stop is None else stop if total is None else min(stop, total)

        def chunks() -> Iterator[bytes]:
            position, until = start, start
            while position == until and (end is None or position < end):
                until = position + _PIECE if end is None else min(end, position + _PIECE)
                piece = _asked(url, partial(system.cat_file, path, start=position, end=until, **self._bounded(system)))
                yield piece
                position += len(piece)
            if now.differs(self._describe(url, system, path)[0]):
                raise Stale("the file changed while it was read")

        yield Reply(start=start, stop=end, total=total, version=now, md5=md5, chunks=chunks())

    def _bounded(self, system: fsspec.AbstractFileSystem) -> dict[str, float]:
        """The time bound, for the file systems that take one: those that reach over a network by asyncio."""
        return {"timeout": self._idle} if system.async_impl else {}

    def _describe(
        self, url: str, system: fsspec.AbstractFileSystem, path: str
    ) -> tuple[Version, int | None, str | None]:
        """The file's version, its size in bytes, its md5; each file system has names of its own for them."""
        info: dict[str, Any] = _asked(url, partial(system.info, path, **self._bounded(system)))
        if info.get("type") == "directory":
            raise DownloadError(f"{public(url)}: expected a file, found a folder")
        etag = info.get("ETag") or info.get("etag")
        modified = info.get("mtime") or info.get("LastModified") or info.get("updated") or info.get("created")
        version = Version(
            etag=str(etag) if etag else None,
            generation=str(info["generation"]) if info.get("generation") else None,
            modified=f"{modified} {info.get('ino', '')}".strip() if modified else None,
        )
        stated = info.get("md5Hash")  # Google's, in base64
        return version, info.get("size"), hexadecimal(stated) if stated else None


_FINAL = (PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError, NotImplementedError)


def _asked(url: str, call: Callable[[], Result]) -> Result:
    """The call's result, its errors sorted into those that may pass and those that will not."""
    try:
        return call()
    except FileNotFoundError:
        raise DownloadError(f"{public(url)}: expected the file, found none of that name") from None
    except _FINAL as error:
        raise DownloadError(f"{public(url)}: cannot be read: {one_line(error)}") from None
    except Exception as error:  # each file system has exceptions of its own
        hint = _HINTS.get(type(error).__name__)
        if hint:
            raise DownloadError(f"{public(url)}: {one_line(error)}; {hint}") from None
        if _is_path(url):
            raise Interrupted(f"cannot be read: {one_line(error)}") from None
        where = urlsplit(url).netloc.rpartition("@")[2] or urlsplit(url).scheme
        text = "no answer came in time" if isinstance(error, TimeoutError) else one_line(error)
        reason = f"cannot read from {where}: is there a network? ({text})"
        raise Interrupted(reason, unreachable=True) from None


def hexadecimal(base64_digest: str) -> str | None:
    """An md5 as Google writes it, as everybody else does; None where it is none."""
    try:
        digest = base64.b64decode(base64_digest, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == 16 else None


def one_line(error: BaseException) -> str:
    """The error in one line, without what looks like the query or the user of a URL."""
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"\b[a-z0-9+]+://\S+", lambda match: public(match.group().rstrip("'\",)")), text)

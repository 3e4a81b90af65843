"""Reads of a URL from an offset on: the response and the errors that all kinds of hosts share.

The errors say what may follow: `TransientError` (try again), `CannotResume` (begin anew) or `DownloadError` (final).
`read_file` takes what fsspec reads of PROTOCOLS (file, s3, gs); HTTP stands in web.py.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PROTOCOLS = ("https", "http", "s3", "gs", "file")  # beside plain paths
_PIECE = 2**23  # bytes asked of fsspec at a time
VARIABLE = re.compile(r"\$\{(\w+)\}")
_HINTS = {"NoCredentialsError": "for a public bucket set FSSPEC_S3='{\"anon\": true}' in the environment"}
_FINAL = (PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError, NotImplementedError)


class DownloadError(ValueError):
    """A file could not be fetched; one line that names its URL, what was expected and what was found."""


class UnreachableError(DownloadError):
    """The host does not answer, or not now: it may tomorrow."""


class TransientError(Exception):
    """An attempt failed in a way that may pass. `wait`: seconds the host asks for; `unreachable`: nobody answered."""

    def __init__(self, reason: str, *, wait: float | None = None, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.unreachable = unreachable


class CannotResume(Exception):
    """The bytes read so far cannot be continued with this host; begin anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What distinguishes versions of a remote file, as far as the host says."""

    etag: str | None = None
    generation: str | None = None
    modified: str | None = None
    version_id: str | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range accepts: a strong ETag, else the time of the last change."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    @property
    def known(self) -> bool:
        """Whether the host says anything at all."""
        return bool(self.etag or self.generation or self.modified or self.version_id)

    def differs(self, other: Version) -> bool:
        """Whether both say something and it is not the same; a 206 may leave parts out."""
        pairs = ((self.etag, other.etag), (self.generation, other.generation), (self.modified, other.modified))
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """What a host says of a file without sending it."""

    version: Version
    size: int | None = None  # bytes
    md5: str | None = None  # of the whole file, in hexadecimal, only where the host states it for certain

    @property
    def proof(self) -> str | None:
        """The file's md5, or what may be it: most hosts of objects give it as the ETag. Equal to that of bytes here, it
        proves that they are the file; another proves nothing.
        """
        etag = (self.version.etag or "").strip('"').lower()
        return self.md5 or (etag if re.fullmatch(r"[0-9a-f]{32}", etag) else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """The bytes from `start` to `stop` (None: to the end) of a file of `total` bytes (None: unknown)."""

    chunks: Iterator[bytes]
    start: int = 0
    stop: int | None = None
    total: int | None = None
    version: Version
    md5: str | None = None  # of the whole file, in hexadecimal, only where the host states it for certain


# Asks for the bytes `start` to `stop` of a URL; `version` is the one that the bytes before `start` came from. The
# response may begin at 0 all the same, where the host ignores ranges or the file has changed.
Read = Callable[[str, int, int | None, Version | None], AbstractContextManager[Response]]


def redacted(url: str) -> str:
    """The URL as it may be shown and recorded: without user, password, query and fragment, which may hold secrets."""
    parts = (re.sub(r"(?<=://)[^/?#]*@", "", part) for part in url.split("::"))  # fsspec chains URLs with ::
    return "::".join(part if _is_path(part) else re.sub(r"[?#].*", "", part, flags=re.DOTALL) for part in parts)


def check_protocol(url: str) -> str:
    """The address with its protocol in lower case, as fsspec alone knows it.

    Raises DownloadError for an address of another protocol than PROTOCOLS, and for one that fsspec would open
    through another (`zip://a::https://…`), which can make it run what a file says.
    """
    protocol, separator, rest = url.partition("://")
    chained = "::" in re.sub(r"\[[^\]/]*\]", "", url)  # within brackets it is a part of an IPv6 address
    if chained or (separator and protocol.lower() not in PROTOCOLS):
        allowed = f"a path, or an address that begins with {', '.join(f'{name}://' for name in PROTOCOLS)}, without ::"
        raise DownloadError(f"{redacted(url)}: not a supported address; allowed: {allowed}")
    return f"{protocol.lower()}://{rest}" if separator else url


def from_environment(url: str) -> str:
    """A URL with `${NAME}` replaced from the environment: where a password or a signature comes from."""
    try:
        return VARIABLE.sub(lambda match: os.environ[match[1]], url)
    except KeyError as error:
        name = error.args[0]
        raise DownloadError(
            f"{redacted(url)}: the environment variable {name}, which the address uses, is not set"
        ) from None


@contextmanager
def without_secrets(urls: Iterable[str]) -> Iterator[None]:
    """Write `${NAME}` for what the environment gave for it, by these URLs, in the errors that leave the block."""
    try:
        yield
    except DownloadError as error:
        text = str(error)
        for name in {name for url in urls for name in VARIABLE.findall(url)}:
            text = text.replace(os.environ.get(name) or f"${{{name}}}", f"${{{name}}}")
        raise type(error)(text) from None


def is_web(url: str) -> bool:
    """Whether a host that speaks HTTP is asked for it."""
    return urlsplit(url).scheme.lower() in ("http", "https")


def _is_path(url: str) -> bool:
    """Whether ? and # are ordinary letters in it."""
    return "://" not in url or url.lower().startswith(("file://", "local://", "memory://"))


@contextmanager
def read_file(url: str, start: int, stop: int | None, version: Version | None, *, idle: float) -> Iterator[Response]:
    """`Read` for every URL but those of the web, and for plain paths, by fsspec, in pieces; `idle` seconds for each."""
    import fsspec  # a twentieth of a second

    with errors_of(url):
        system, path = fsspec.url_to_fs(url)
    # The time bound, for the file systems that take one: those that reach over a network by asyncio.
    bound = {"timeout": idle} if system.async_impl else {}

    def describe() -> dict[str, Any]:
        with errors_of(url):
            info: dict[str, Any] = system.info(path, **bound)
        return info

    def chunks() -> Iterator[bytes]:
        position, until = start, start
        while position == until and (end is None or position < end):
            until = position + _PIECE if end is None else min(end, position + _PIECE)
            with errors_of(url):
                piece = system.cat_file(path, start=position, end=until, **bound)
            yield piece
            position += len(piece)
        if now.differs(version_of(describe())):
            raise CannotResume("the file changed while it was being read")

    info = describe()
    if info.get("type") == "directory":
        raise DownloadError(f"{redacted(url)}: expected a file, found a folder")
    now, total, md5 = version_of(info), info.get("size"), _md5_of(info)
    if start and (version is None or version.differs(now)):
        start, stop = 0, None
    end = total if stop is None else stop if total is None else min(stop, total)
    yield Response(start=start, stop=end, total=total, version=now, md5=md5, chunks=chunks())


def stated_by(info: dict[str, Any]) -> Stated:
    """What a file system says of a file, alone or in a listing."""
    return Stated(version=version_of(info), size=info.get("size"), md5=_md5_of(info))


def _md5_of(info: dict[str, Any]) -> str | None:
    return md5_from_base64(info.get("md5Hash") or "")  # Google's name for it


def version_of(info: dict[str, Any]) -> Version:
    """The version of a file; each file system has its own names for it."""
    etag = info.get("ETag") or info.get("etag")
    modified = info.get("mtime") or info.get("LastModified") or info.get("updated") or info.get("created")
    return Version(
        etag=str(etag) if etag else None,
        generation=str(info["generation"]) if info.get("generation") else None,
        modified=f"{modified} {info.get('ino', '')}".strip() if modified else None,
        version_id=info["VersionId"] if info.get("VersionId") not in (None, "null") else None,  # of a bucket without
    )


@contextmanager
def errors_of(url: str) -> Iterator[None]:
    """Sorts what fsspec raises into errors that may pass and errors that will not; around its calls only."""
    try:
        yield
    except FileNotFoundError:
        raise DownloadError(f"{redacted(url)}: no such file") from None
    except _FINAL as error:
        raise DownloadError(f"{redacted(url)}: cannot be read: {one_line(error)}") from None
    except Exception as error:  # each file system has exceptions of its own
        hint = _HINTS.get(type(error).__name__)
        if hint:
            raise DownloadError(f"{redacted(url)}: {one_line(error)}; {hint}") from None
        if _is_path(url):
            raise TransientError(f"cannot be read: {one_line(error)}") from None
        where = urlsplit(url).netloc.rpartition("@")[2] or urlsplit(url).scheme
        text = "no answer came in time" if isinstance(error, TimeoutError) else one_line(error)
        reason = f"cannot read from {where}: is there a network? ({text})"
        raise TransientError(reason, unreachable=True) from None


def md5_from_base64(digest: str) -> str | None:
    """An md5 as Google writes it, in hexadecimal; None where it is none."""
    try:
        content = base64.b64decode(digest, validate=True)
    except ValueError:
        return None
    return content.hex() if len(content) == 16 else None


def one_line(error: BaseException) -> str:
    """The error in one line, without what looks like the query or the user of a URL."""
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"(?i)\b[a-z0-9+]+://\S+", lambda match: redacted(match.group().rstrip("'\",)")), text)

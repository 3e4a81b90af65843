"""Hosts: the bytes of a URL from an offset on, over HTTP and over everything else that fsspec reads (file, s3, gs, …).

What a host does wrong, or says that is not to be repeated, ends here: an attempt yields a `Reply` or raises `Interrupted`
(try again), `Stale` (what was read so far cannot be continued) or `DownloadError` (final).
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import fsspec
import httpx

_PIECE = 2**23  # bytes asked of fsspec at a time
_COMPRESSED = {".gz", ".tgz", ".svgz"}  # names whose content is meant to stay compressed
_HINTS = {"NoCredentialsError": "for a public bucket set FSSPEC_S3='{\"anon\": true}' in the environment"}

Result = TypeVar("Result")


class DownloadError(ValueError):
    """A file could not be fetched; one line that names its URL, what was expected and what was found."""


class Interrupted(Exception):
    """An attempt failed in a way that may pass. `wait`: the seconds the host asks for; `unreachable`: nobody answered."""

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

    @contextmanager
    def read(self, url: str, start: int, stop: int | None, version: Version | None) -> Iterator[Reply]:
        """Ask for the bytes `start` to `stop`; `version` is the one that the bytes before `start` came from.

        The reply may begin at 0 all the same, where the host ignores ranges or the file has changed.
        """


def public(url: str) -> str:
    """The URL as it may be shown and recorded: without user, password, query and fragment, which may hold secrets."""
    parts = (re.sub(r"(?<=://)[^/?#]*@", "", part) for part in url.split("::"))  # fsspec chains URLs with ::
    return "::".join(part if _is_path(part) else re.sub(r"[?#].*", "", part, flags=re.DOTALL) for part in parts)


def _is_path(url: str) -> bool:
    """Whether ? and # are ordinary letters in it."""
    return "://" not in url or url.startswith(("file://", "local://", "memory://"))


class Web:
    """http and https, by httpx. Shared by the threads of one `fetch_all`; `stop` ends its waits."""

    def __init__(self, *, idle: float, longest_wait: float, connections: int, stop: threading.Event) -> None:
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(idle, connect=min(idle, 15.0), pool=None),
            limits=httpx.Limits(max_connections=connections),
            headers={"User-Agent": "unroll (httpx)", "Accept-Encoding": "identity", "Accept": "*/*"},
        )
        self._idle = idle
        self._longest_wait = longest_wait
        self._stop = stop
        self._without_ranges: set[str] = set()
        self._quiet_until: dict[str, float] = {}  # by host: what one thread was told holds for all

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def read(self, url: str, start: int, stop: int | None, version: Version | None) -> Iterator[Reply]:
        headers = {}
        if url not in self._without_ranges and (start or stop is not None):
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
            if start and version and version.validator:
                headers["If-Range"] = version.validator
        host = urlsplit(url).hostname or ""
        self._stop.wait(max(0.0, self._quiet_until.get(host, 0.0) - time.monotonic()))
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                yield self._reply(response, url, host, ranged="Range" in headers, start=start)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise DownloadError(f"{public(url)}: not a URL that can be followed: {_text(error)}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            port = urlsplit(url).port
            where = f"{host}:{port}" if port else host
            reason = f"cannot reach {where}: is there a network? ({_text(error)})"
            raise Interrupted(reason, unreachable=True) from None
        except httpx.TimeoutException:
            raise Interrupted(f"no byte came for {self._idle:g} s") from None
        except httpx.RequestError as error:
            raise Interrupted(f"the connection broke: {_text(error)}") from None

    def _reply(self, response: httpx.Response, url: str, host: str, *, ranged: bool, start: int) -> Reply:
        status, headers = response.status_code, response.headers
        found = f"HTTP {status} {response.reason_phrase}".strip()
        if status in (408, 425, 429) or status >= 500:
            wait = _retry_after(headers.get("Retry-After"))
            if wait is not None:
                self._quiet_until[host] = time.monotonic() + min(wait, self._longest_wait)
            raise Interrupted(found, wait=wait)
        if status == 416 and start == 0 and headers.get("Content-Range", "").replace(" ", "") == "bytes*/0":
            return Reply(start=0, stop=None, total=0, version=_version(headers), md5=None, chunks=iter(()))
        if status == 416 and ranged:
            self._without_ranges.update({url} if start == 0 else ())
            raise Stale(found)
        if status not in (200, 206):
            raise DownloadError(f"{public(url)}: expected the file, found {found}")
        encoded = headers.get("Content-Encoding", "identity").lower() not in ("identity", "")
        keep = PurePosixPath(urlsplit(url).path).suffix.lower() in _COMPRESSED
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", ""))
        if status == 206:
            if span is None or (encoded and not keep):
                self._without_ranges.add(url)
                raise Stale(f"{found} with Content-Range {headers.get('Content-Range')!r}")
            first, last, total = (int(group) for group in span.groups())
            stop: int | None = last + 1
        elif encoded and not keep:
            # The host compresses although identity was asked for: neither its length nor its hash is the file's.
            self._without_ranges.add(url)
            version, decoded = _version(headers), response.iter_bytes()
            return Reply(start=0, stop=None, total=None, version=version, md5=None, chunks=decoded)
        else:
            length = headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            first, stop = 0, total
        return Reply(
            start=first,
            stop=stop,
            total=total,
            version=_version(headers),
            md5=_stated_md5(headers),
            chunks=response.iter_raw(),
        )


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
        return version, info.get("size"), _hexadecimal(stated) if stated else None


def _asked(url: str, call: Callable[[], Result]) -> Result:
    """The call's result, its errors sorted into those that may pass and those that will not."""
    try:
        return call()
    except FileNotFoundError:
        raise DownloadError(f"{public(url)}: expected the file, found none of that name") from None
    except (PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError, NotImplementedError) as error:
        raise DownloadError(f"{public(url)}: cannot be read: {_text(error)}") from None
    except Exception as error:  # each file system has exceptions of its own
        hint = _HINTS.get(type(error).__name__)
        if hint:
            raise DownloadError(f"{public(url)}: {_text(error)}; {hint}") from None
        where = urlsplit(url).netloc.rpartition("@")[2] or urlsplit(url).scheme or "the disk"
        raise Interrupted(f"cannot read from {where}: is there a network? ({_text(error)})", unreachable=True) from None


def _version(headers: httpx.Headers) -> Version:
    return Version(
        etag=headers.get("ETag"), generation=headers.get("x-goog-generation"), modified=headers.get("Last-Modified")
    )


def _stated_md5(headers: httpx.Headers) -> str | None:
    """The whole file's md5 where the host vouches for it: Google's `x-goog-hash`, or the ETag of Amazon S3 proper.

    An ETag of 32 hexadecimal digits is an md5 on S3 unless the object is encrypted with a key of the user's or KMS's
    (docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html); other hosts promise nothing about theirs.
    """
    if headers.get("x-goog-stored-content-encoding", "identity") == "identity":
        for part in re.split(r"[,\s]+", headers.get("x-goog-hash", "")):
            if part.startswith("md5="):
                return _hexadecimal(part.removeprefix("md5="))
    plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    customer = "x-amz-server-side-encryption-customer-algorithm" in headers
    etag = headers.get("ETag", "").strip('"')
    if headers.get("Server") == "AmazonS3" and plain and not customer and re.fullmatch(r"[0-9a-f]{32}", etag):
        return str(etag)
    return None


def _hexadecimal(base64_digest: str) -> str | None:
    try:
        digest = base64.b64decode(base64_digest, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == 16 else None


def _retry_after(value: str | None) -> float | None:
    """Seconds, from either form of the header: a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _text(error: BaseException) -> str:
    """The error in one line, without what looks like the query or the user of a URL."""
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"\b[a-z0-9+]+://\S+", lambda match: public(match.group().rstrip("'\",)")), text)

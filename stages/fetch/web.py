"""HTTP: range requests, guarded against a change of the file, and hosts that ignore ranges, compress or ask to wait."""

from __future__ import annotations

import email.utils
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .decoding import ENCODINGS, inflated
from .remote import (
    CannotResume,
    DownloadError,
    Response,
    Stated,
    TransientError,
    Version,
    md5_from_base64,
    one_line,
    redacted,
)

if TYPE_CHECKING:
    import httpx

_CONNECT = 15.0  # seconds; less where `idle` is
_REFUSALS = {
    204: "the host sent an empty answer instead of the file",
    401: "the host refuses access to the file",
    403: "the host refuses access to the file",
    404: "the host has no such file",
    410: "the host no longer has the file",
}
_COMPRESSED = {".gz", ".tgz", ".svgz"}  # names whose content is meant to stay compressed


class Web:
    """http and https, by httpx. Shared by the threads of one `fetch_all`; `stop` ends its waits."""

    def __init__(self, *, idle: float, longest_wait: float, connections: int, stop: threading.Event) -> None:
        import httpx  # a tenth of a second, and only where there is anything to ask

        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(idle, connect=min(idle, _CONNECT), pool=None),
            limits=httpx.Limits(max_connections=connections),
            headers={"User-Agent": "unroll (httpx)", "Accept-Encoding": "identity", "Accept": "*/*"},
        )
        self._idle = idle
        self._longest_wait = longest_wait
        self._stop = stop
        self._without_ranges: set[str] = set()
        self._not_before: dict[str, float] = {}  # by host, for all threads

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def read(self, url: str, start: int, stop: int | None, version: Version | None) -> Iterator[Response]:
        headers = {}
        if url not in self._without_ranges and (start or stop is not None):
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
            if start and version and version.validator:
                headers["If-Range"] = version.validator
        with self._send("GET", url, headers) as response:
            yield self._response(response, url, ranged="Range" in headers, start=start)

    def ask(self, url: str) -> Stated:
        """What the host says of a file; of one that answers no HEAD, with the head of a GET."""
        with self._send("HEAD", url, {}) as response:
            if response.status_code == 200:
                found = self._response(response, url, ranged=False, start=0)
                return Stated(version=found.version, size=found.total, md5=found.md5)
        with self.read(url, 0, 1, None) as found:
            return Stated(version=found.version, size=found.total, md5=found.md5)

    @contextmanager
    def _send(self, method: str, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        import httpx

        host = urlsplit(url).hostname or ""
        self._stop.wait(max(0.0, self._not_before.get(host, 0.0) - time.monotonic()))
        try:
            with self._client.stream(method, url, headers=headers) as response:
                yield response
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise DownloadError(f"{redacted(url)}: cannot be fetched: {one_line(error)}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            port = urlsplit(url).port
            where = f"{host}:{port}" if port else host
            reason = f"cannot reach {where}: is there a network? ({one_line(error)})"
            raise TransientError(reason, unreachable=True) from None
        except httpx.TimeoutException:
            raise TransientError(f"no data received for {self._idle:g} s") from None
        except httpx.RequestError as error:
            raise TransientError(f"the connection broke: {one_line(error)}") from None

    def _response(self, response: httpx.Response, url: str, *, ranged: bool, start: int) -> Response:
        status, headers = response.status_code, response.headers
        found = f"HTTP {status} {response.reason_phrase}".strip()
        if status in (408, 425, 429) or status >= 500:
            wait = _retry_after(headers.get("Retry-After"))
            if wait is not None:
                self._not_before[urlsplit(url).hostname or ""] = time.monotonic() + min(wait, self._longest_wait)
            raise TransientError(found, wait=wait)
        if status == 416 and start == 0 and headers.get("Content-Range", "").replace(" ", "") == "bytes*/0":
            return Response(chunks=iter(()), total=0, version=_version(headers))
        if status == 416 and ranged:
            self._without_ranges.update({url} if start == 0 else ())
            raise CannotResume(found)
        if status not in (200, 206):
            raise DownloadError(f"{redacted(url)}: {_REFUSALS.get(status, 'expected the file')}, found {found}")
        encoding = headers.get("Content-Encoding", "identity").strip().lower()
        encoded = encoding not in ("identity", "")
        encoded = encoded and PurePosixPath(urlsplit(url).path).suffix.lower() not in _COMPRESSED
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", ""))
        if status == 206 and (encoded or span is None):
            self._without_ranges.add(url)
            raise CannotResume(f"{found} with Content-Range {headers.get('Content-Range')!r}")
        if encoded:
            # The host compresses although identity was asked for: neither its length nor its hash is the file's.
            self._without_ranges.add(url)
            if encoding not in ENCODINGS:
                allowed = f"allowed: identity, {', '.join(ENCODINGS)}"
                raise DownloadError(f"{redacted(url)}: found the content encoding {encoding[:40]!r}; {allowed}")
            return Response(chunks=inflated(response.iter_raw(), encoding), version=_version(headers))
        chunks, version, md5 = response.iter_raw(), _version(headers), _stated_md5(headers)
        if status == 206 and span:
            first, last, total = (int(group) for group in span.groups())
            return Response(chunks=chunks, start=first, stop=last + 1, total=total, version=version, md5=md5)
        length = int(headers["Content-Length"]) if headers.get("Content-Length", "").isdigit() else None
        return Response(chunks=chunks, stop=length, total=length, version=version, md5=md5)


def _version(headers: httpx.Headers) -> Version:
    return Version(
        etag=headers.get("ETag"),
        generation=headers.get("x-goog-generation"),
        modified=headers.get("Last-Modified"),
        version_id=headers.get("x-amz-version-id"),
    )


def _stated_md5(headers: httpx.Headers) -> str | None:
    """The whole file's md5 where the host vouches for it: Google's `x-goog-hash`, or the ETag of Amazon S3 proper.

    An ETag of 32 hexadecimal digits is an md5 on S3 unless the object is encrypted with a key of the user's or KMS's
    (docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html); other hosts promise nothing about theirs.
    """
    if headers.get("x-goog-stored-content-encoding", "identity") == "identity":
        for part in re.split(r"[,\s]+", headers.get("x-goog-hash", "")):
            if part.startswith("md5="):
                return md5_from_base64(part.removeprefix("md5="))
    plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    customer = "x-amz-server-side-encryption-customer-algorithm" in headers
    etag = headers.get("ETag", "").strip('"')
    if headers.get("Server") == "AmazonS3" and plain and not customer and re.fullmatch(r"[0-9a-f]{32}", etag):
        return str(etag)
    return None


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

"""The download of one file: requests until all is there, retries after errors that may pass, checks at the end."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .partial import Metadata, Partial
from .remote import CannotResume, DownloadError, Read, Response, Stated, TransientError, UnreachableError

_log = logging.getLogger(__name__)
_MIN_RANGE, _MAX_RANGE = 2**16, 2**26  # bytes in one range request for lines
_UNREACHED_ATTEMPTS = 3  # where nothing ever came: rather no network than a bad moment


class Cancelled(Exception):
    """The whole fetch was given up, by the user or because another file failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A file to fetch. `size`, `md5` and `sha256` are those of the whole remote file, where they are known.

    `lines`: only so many whole lines from the start are wanted; the checksums then apply only if that is all.
    `length`: only so many bytes from the start, where a file may have grown since. `stated`: what a listing said of it,
    so that nobody need ask. `grown_from`: a file here that holds an older version; with `stated`, only what came since
    is fetched, where the host states a hash that proves the beginning unchanged. `whole_lines`: what follows the last
    line feed is left out, of a text that somebody is appending to. `named`: what is written down in place of `url`: a
    path within the repository, which is the same for all of its checkouts.
    """

    url: str
    target: Path
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    lines: int | None = None
    length: int | None = None
    stated: Stated | None = None
    grown_from: Path | None = None
    whole_lines: bool = False
    named: str | None = None

    @property
    def address(self) -> str:
        """As it is written down."""
        return self.named or self.url

    @property
    def part(self) -> str:
        """Which part of the remote file is wanted, as a key of what is kept of it; its `length` apart."""
        return "whole" if self.whole_lines else str(self.lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long and how much a download may take."""

    idle: float = 30.0  # seconds without a byte until an attempt is given up
    total: float = 6 * 3600.0  # seconds for one file, all attempts and waits together
    size: int = 64 * 2**30  # bytes of one file
    attempts: int = 8  # attempts in a row that bring nothing new
    backoff: float = 0.5  # seconds before the second attempt; doubled for each further one
    longest_wait: float = 120.0  # seconds between two attempts; a host that asks for more is left alone


@dataclass(kw_only=True, slots=True)
class Transfer:
    """Fetches one request into its partial by `run`, puts it in its place by `publish`."""

    request: Request
    partial: Partial
    read: Read
    limits: Limits
    stop: threading.Event
    shown: str  # the address as messages name it
    _deadline: float = field(default=0.0, init=False)
    _best_size: int = field(default=0, init=False)  # bytes the partial had at most
    _failures: int = field(default=0, init=False)  # attempts in a row that brought nothing new
    _restarts: int = field(default=0, init=False)
    _reached: bool = field(default=False, init=False)  # whether a byte came in this run

    def run(self) -> dict[str, Any]:
        """Fetch and check; the checked file is left as the partial. Returns what came: the `bytes` kept, their `md5`,
        `etag` and `generation` of the remote version, whether they are the whole of it, `complete`.

        Raises DownloadError, Cancelled.
        """
        self._deadline = time.monotonic() + self.limits.total
        try:
            with self.partial.open():
                self._continue_older()
                self._best_size = self.partial.size
                self._complete()
                proof = self.partial.metadata.proof if self.partial.metadata else None
                if proof and self._md5() != proof:
                    self._restart()  # its beginning has changed, too
                    self._complete()
                checked = self._check()
                if self.request.whole_lines and (cut := self.partial.cut_to_lines()):
                    why = "its last line is not complete yet"
                    _log.warning("%s: %s, so its last %s bytes are left out for now", self.shown, why, f"{cut:,}")
                    checked = self._check()
                return checked
        except BlockingIOError:
            raise self._error(f"another process is fetching it into {self.partial.path}") from None
        except OSError as error:
            raise self._error(f"cannot write {self.partial.path}: {error.strerror or error}") from None

    def publish(self) -> None:
        """Give the checked file its name."""
        try:
            self.partial.publish(self.request.target)
        except OSError as error:
            raise self._error(f"cannot write {self.request.target}: {error.strerror or error}") from None

    def _continue_older(self) -> None:
        """Begin with an older version of the file, where it can be proved in the end that the file began so."""
        request, stated = self.request, self.request.stated
        if self.partial.size or request.grown_from is None or stated is None or not stated.proof:
            return
        if not stated.size or not stated.version.validator or stated.size <= request.grown_from.stat().st_size:
            return
        self.partial.start(Metadata(version=stated.version, total=stated.size, md5=stated.md5, proof=stated.proof))
        with request.grown_from.open("rb") as file:
            while chunk := file.read(2**20):
                self.partial.append(chunk)

    def _complete(self) -> None:
        """Attempts until all is there."""
        while error := self._attempt():
            self._wait(error)

    def _md5(self) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self.partial.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def _attempt(self) -> TransientError | None:
        """Get all that is missing; returns the error where another attempt may succeed."""
        before, partial = self._best_size, self.partial
        try:
            if partial.metadata and partial.metadata.finished and not self._unchanged(partial.metadata):
                self._restart()
            while not (partial.metadata and partial.metadata.finished):
                self._advance()
        except CannotResume as error:
            self._restart()
            return TransientError(str(error))
        except TransientError as error:
            return error
        finally:
            partial.flush()
            self._failures = 0 if self._best_size > before else self._failures + 1
        return None

    def _wait(self, error: TransientError) -> None:
        """Exponential backoff with jitter, at least as long as the host asks.

        Raises DownloadError where that is too long, or after the last attempt.
        """
        limits, wait = self.limits, error.wait or 0.0
        allowed = limits.attempts
        if error.unreachable and not self._reached:
            allowed = min(allowed, _UNREACHED_ATTEMPTS)
        if wait > limits.longest_wait:
            asks = f"; it asks to wait {wait:,.0f} s, allowed: {limits.longest_wait:,g} s"
            raise self._away(f"{error}{asks}{self._kept()}")
        if self._failures >= allowed or self._restarts >= limits.attempts:
            raise self._away(f"{error}{self._kept()}")
        pause = limits.backoff * 2 ** max(0, self._failures - 1) * random.SystemRandom().uniform(0.5, 1)
        pause = min(max(pause, wait), limits.longest_wait)
        _log.warning("%s: %s; trying again in %.1f s", self.shown, error, pause)
        self.stop.wait(pause)

    def _restart(self) -> None:
        """Begin anew with another version of the remote file; how often is bounded, since a host may never settle."""
        self.partial.reset()
        self._best_size = 0
        self._restarts += 1

    def _unchanged(self, metadata: Metadata) -> bool:
        """Whether the remote file still is the one that an earlier start fetched."""
        self._check_time()
        with self.read(self.request.url, 0, 1, None) as response:
            known = metadata.version.validator or metadata.version.generation
            return bool(known) and response.version == metadata.version and response.total == metadata.total

    def _advance(self) -> None:
        """One request: the rest of the file, or the next range of its lines."""
        self._check_time()
        partial = self.partial
        if partial.size and not (partial.metadata and partial.metadata.version.validator):
            partial.reset()  # nothing could tell whether the rest is of the same version
        version = partial.metadata.version if partial.metadata else None
        start = partial.size
        stop = self.request.length if self.request.lines is None else start + self._range_size(self.request.lines)
        with self.read(self.request.url, start, stop, version) as response:
            self._accept(response)
            for chunk in response.chunks:
                self._check_time()
                if self._append(chunk):
                    partial.finish(complete=partial.size == response.total)
                    return
        if response.stop is not None and partial.size < response.stop:
            raise TransientError(f"the connection closed after {partial.size:,} of {response.stop:,} bytes")
        if response.stop is None or response.stop == response.total:
            partial.finish(complete=True)
        elif partial.size == start:
            raise TransientError("the answer was empty")

    def _accept(self, response: Response) -> None:
        """Check a response's head before its bytes are taken; go back to 0 where it does."""
        partial, metadata, total = self.partial, self.partial.metadata, response.total
        if metadata and (metadata.version.differs(response.version) or metadata.total != total):
            self._restart()
        elif metadata and response.start != partial.size:
            partial.reset()
        if response.start != partial.size:
            raise CannotResume("the remote file has changed")
        if self.request.size is not None and total is not None and total != self.request.size:
            found = f"expected {self.request.size:,} bytes as the request says, found {total:,}"
            raise self._error(f"{found}; the file was not kept")
        if total is not None and total > self.limits.size and self.request.lines is None:
            raise self._error(f"expected at most {self.limits.size:,} bytes, found {total:,}")
        if partial.metadata is None:
            partial.start(Metadata(version=response.version, total=total, md5=response.md5))

    def _append(self, chunk: bytes) -> bool:
        """Append to the partial, no more than is wanted; returns whether the last of that is now there."""
        partial, lines, length = self.partial, self.request.lines, self.request.length
        enough = lines is not None and partial.line_ends + chunk.count(b"\n") >= lines
        if lines is not None and enough:
            missing = lines - partial.line_ends
            chunk = b"".join(line + b"\n" for line in chunk.split(b"\n", missing)[:missing])
        if length is not None:
            chunk = chunk[: length - partial.size]
            enough = partial.size + len(chunk) == length
        if partial.size + len(chunk) > self.limits.size:
            partial.discard()
            raise self._error(f"expected at most {self.limits.size:,} bytes, found more")
        partial.append(chunk)
        self._best_size = max(self._best_size, partial.size)
        self._reached = self._reached or bool(chunk)
        return enough

    def _range_size(self, lines: int) -> int:
        """Bytes that the missing lines may take, by the lines seen so far, and a little more."""
        seen, size = self.partial.line_ends, self.partial.size
        # Before a line has ended a little is asked for, then twice as much each time.
        needed = int(1.1 * (lines - seen) * size / seen) + 1 if seen else size
        return min(max(needed, _MIN_RANGE), _MAX_RANGE)

    def _check(self) -> dict[str, Any]:
        """Compare with what the request and the host say; a file that fails is not kept."""
        partial, request, metadata = self.partial, self.request, self.partial.metadata
        assert metadata is not None
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        for chunk in partial.chunks():
            self._check_time()
            md5.update(chunk)
            if request.sha256:
                sha256.update(chunk)
        checks = (
            ("bytes", None if request.size is None else str(request.size), str(partial.size), "as the request says"),
            ("md5", request.md5, md5.hexdigest(), "as the request says"),
            ("md5", metadata.md5, md5.hexdigest(), "as the host says"),
            ("sha256", request.sha256, sha256.hexdigest(), "as the request says"),
        )
        for kind, expected, found, by in checks if metadata.complete else ():
            if expected is not None and expected.lower() != found:
                partial.discard()
                what = f"expected {kind} {expected} {by}, found {found}"
                raise self._error(f"{what}; the file was not kept")
        version = {"etag": metadata.version.etag, "generation": metadata.version.generation}
        return {"bytes": partial.size, "md5": md5.hexdigest(), **version, "complete": metadata.complete}

    def _check_time(self) -> None:
        if self.stop.is_set():
            raise Cancelled
        if time.monotonic() > self._deadline:
            found = f"not complete after {self.limits.total:,g} s, {self.partial.size:,} bytes received"
            raise self._error(f"{found}{self._kept()}")

    def _kept(self) -> str:
        size = self.partial.size
        return f"; the next start resumes from the {size:,} bytes received" if size else ""

    def _away(self, text: str) -> UnreachableError:
        return UnreachableError(f"{self.shown}: {text}")

    def _error(self, text: str) -> DownloadError:
        return DownloadError(f"{self.shown}: {text}")

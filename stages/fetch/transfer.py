"""One file on its way: requests until all is there, attempts until one succeeds, checks before it counts."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event

from .partial import Notes, Partial
from .remote import DownloadError, Interrupted, Remote, Reply, Stale, public

_log = logging.getLogger(__name__)
_LEAST_PIECE, _MOST_PIECE = 2**16, 2**26  # bytes in one range request for lines
_ATTEMPTS_UNREACHED = 3  # where nothing ever came: rather no network than a bad moment


class Cancelled(Exception):
    """The whole fetch was given up, by the user or because another file failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A file to fetch. `size`, `md5` and `sha256` are those of the whole remote file, where they are known.

    `lines`: only so many whole lines from the start are wanted; the checksums then apply only if that is all.
    """

    url: str
    target: Path
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    lines: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long and how much a download may take."""

    idle: float = 30.0  # seconds without a byte until an attempt is given up
    total: float = 6 * 3600.0  # seconds for one file, all attempts and waits together
    size: int = 64 * 2**30  # bytes of one file
    attempts: int = 8  # attempts in a row that bring nothing new
    backoff: float = 0.5  # seconds before the second attempt; doubled for each further one
    longest_wait: float = 120.0  # seconds between two attempts; a host that asks for more is left alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What came: the bytes kept, their md5, the remote version they are from, whether they are the whole of it."""

    bytes: int
    md5: str
    etag: str | None
    generation: str | None
    complete: bool


class Transfer:
    """Fetches one request into its partial by `run`, puts it in its place by `publish`."""

    def __init__(
        self,
        request: Request,
        folder: Path,
        remote: Remote,
        limits: Limits,
        stop: threading.Event,
        progress: Callable[[int], object],
    ) -> None:
        self.request = request
        self._url = public(request.url)
        self._partial = Partial(folder, f"{request.url}\n{request.lines}\n{request.target}", progress)
        self._remote, self._limits, self._stop = remote, limits, stop
        self._deadline = 0.0
        self._furthest = 0  # bytes the partial had at best
        self._fruitless = 0  # attempts in a row that brought nothing new
        self._restarts = 0
        self._arrived = False  # whether a byte came in this run

    def run(self) -> Fetched:
        """Fetch and check; the checked file is left as the partial. Raises DownloadError, Cancelled."""
        self._deadline = time.monotonic() + self._limits.total
        try:
            with self._partial.opened():
                self._furthest = self._partial.size
                attempts = Retrying(
                    retry=retry_if_exception_type(Interrupted),
                    stop=self._give_up,
                    wait=self._wait,
                    before_sleep=self._say,
                    sleep=sleep_using_event(self._stop),
                    reraise=True,
                )
                attempts(self._attempt)
                return self._check()
        except Interrupted as error:
            asked = error.wait if error.wait is not None and error.wait > self._limits.longest_wait else None
            wait = f"; it asks to wait {asked:,.0f} s, allowed are {self._limits.longest_wait:,g} s" if asked else ""
            raise DownloadError(f"{self._url}: {error}{wait}{self._kept()}") from None
        except BlockingIOError:
            raise DownloadError(f"{self._url}: another process is fetching it into {self._partial.path}") from None
        except OSError as error:
            raise DownloadError(f"{self._url}: cannot write {self._partial.path}: {error.strerror or error}") from None

    def publish(self) -> None:
        """Give the checked file its name."""
        try:
            self._partial.publish(self.request.target)
        except OSError as error:
            raise DownloadError(f"{self._url}: cannot write {self.request.target}: {error.strerror or error}") from None

    def _attempt(self) -> None:
        before, partial = self._furthest, self._partial
        try:
            if partial.notes and partial.notes.settled and not self._unchanged(partial.notes):
                self._start_over()
            while not (partial.notes and partial.notes.settled):
                self._advance()
        except Stale as error:
            self._start_over()
            raise Interrupted(str(error)) from None
        finally:
            partial.flush()
            self._fruitless = 0 if self._furthest > before else self._fruitless + 1

    def _start_over(self) -> None:
        """Begin anew with another version of the remote file; how often is bounded, since a host may never settle."""
        self._partial.begin_anew()
        self._furthest = 0
        self._restarts += 1

    def _unchanged(self, notes: Notes) -> bool:
        """Whether the remote file still is the one that an earlier start fetched."""
        self._in_time()
        with self._remote.read(self.request.url, 0, 1, None) as reply:
            known = notes.version.validator or notes.version.generation
            return bool(known) and reply.version == notes.version and reply.total == notes.total

    def _advance(self) -> None:
        """One request: the rest of the file, or the next piece of its lines."""
        self._in_time()
        partial = self._partial
        if partial.size and not (partial.notes and partial.notes.version.validator):
            partial.begin_anew()  # nothing could tell whether the rest is of the same version
        version = partial.notes.version if partial.notes else None
        start = partial.size
        stop = None if self.request.lines is None else start + self._piece()
        with self._remote.read(self.request.url, start, stop, version) as reply:
            self._accept(reply)
            for chunk in reply.chunks:
                self._in_time()
                if self._append(chunk):
                    partial.settle(complete=partial.size == reply.total)
                    return
        if reply.stop is not None and partial.size < reply.stop:
            raise Interrupted(f"the connection closed after {partial.size:,} of {reply.stop:,} bytes")
        if reply.stop is None or reply.stop == reply.total:
            partial.settle(complete=True)
        elif partial.size == start:
            raise Interrupted("the answer was empty")

    def _accept(self, reply: Reply) -> None:
        """Look at a reply's head before its bytes are taken; go back to 0 where it does."""
        partial, notes, total = self._partial, self._partial.notes, reply.total
        if notes and (notes.version.differs(reply.version) or notes.total != total):
            self._start_over()
        elif notes and reply.start != partial.size:
            partial.begin_anew()
        if reply.start != partial.size:
            raise Stale("the remote file has changed")
        if self.request.size is not None and total is not None and total != self.request.size:
            found = f"expected {self.request.size:,} bytes as the request says, found {total:,}"
            raise DownloadError(f"{self._url}: {found}; the file was not kept")
        if total is not None and total > self._limits.size and self.request.lines is None:
            raise DownloadError(f"{self._url}: expected at most {self._limits.size:,} bytes, found {total:,}")
        if partial.notes is None:
            partial.begin(Notes(version=reply.version, total=total, md5=reply.md5))

    def _append(self, chunk: bytes) -> bool:
        """Add what came to the partial, no more than the wanted lines; whether the last of them is now there."""
        missing = None if self.request.lines is None else self.request.lines - self._partial.line_ends
        enough = missing is not None and chunk.count(b"\n") >= missing
        if missing is not None and enough:
            chunk = _first_lines(chunk, missing)
        if self._partial.size + len(chunk) > self._limits.size:
            self._partial.discard()
            raise DownloadError(f"{self._url}: expected at most {self._limits.size:,} bytes, found more")
        self._partial.append(chunk)
        self._furthest = max(self._furthest, self._partial.size)
        self._arrived = self._arrived or bool(chunk)
        return enough

    def _piece(self) -> int:
        """Bytes that the missing lines may take, by the lines seen so far, and a little more."""
        seen, size = self._partial.line_ends, self._partial.size
        missing = (self.request.lines or 0) - seen
        # Before a line has ended a little is asked for, then twice as much each time.
        needed = int(1.1 * missing * size / seen) + 1 if seen else size
        return min(max(needed, _LEAST_PIECE), _MOST_PIECE)

    def _check(self) -> Fetched:
        """Compare with what the request and the host say; a file that fails is not kept."""
        partial, request, notes = self._partial, self.request, self._partial.notes
        assert notes is not None
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        for chunk in partial.chunks():
            self._in_time()
            md5.update(chunk)
            if request.sha256:
                sha256.update(chunk)
        checks = (
            ("bytes", None if request.size is None else str(request.size), str(partial.size), "as the request says"),
            ("md5", request.md5, md5.hexdigest(), "as the request says"),
            ("md5", notes.md5, md5.hexdigest(), "as the host says"),
            ("sha256", request.sha256, sha256.hexdigest(), "as the request says"),
        )
        for kind, expected, found, by in checks if notes.complete else ():
            if expected is not None and expected.lower() != found:
                partial.discard()
                what = f"expected {kind} {expected} {by}, found {found}"
                raise DownloadError(f"{self._url}: {what}; the file was not kept")
        return Fetched(
            bytes=partial.size,
            md5=md5.hexdigest(),
            etag=notes.version.etag,
            generation=notes.version.generation,
            complete=notes.complete,
        )

    def _in_time(self) -> None:
        if self._stop.is_set():
            raise Cancelled
        if time.monotonic() > self._deadline:
            size = self._partial.size
            found = f"expected within {self._limits.total:,g} s, found {size:,} bytes by then"
            raise DownloadError(f"{self._url}: {found}{self._kept()}")

    def _give_up(self, state: RetryCallState) -> bool:
        error = _error(state)
        allowed = self._limits.attempts
        if error.unreachable and not self._arrived:
            allowed = min(allowed, _ATTEMPTS_UNREACHED)
        too_long = error.wait is not None and error.wait > self._limits.longest_wait
        return too_long or self._fruitless >= allowed or self._restarts >= self._limits.attempts

    def _wait(self, state: RetryCallState) -> float:
        """Seconds: doubled for each fruitless attempt, drawn from the upper half of it, at least what the host asks."""
        error = _error(state)
        pause = self._limits.backoff * 2 ** max(0, self._fruitless - 1) * random.SystemRandom().uniform(0.5, 1)
        return min(max(pause, error.wait or 0.0), self._limits.longest_wait)

    def _say(self, state: RetryCallState) -> None:
        _log.warning("%s: %s; trying again in %.1f s", self._url, _error(state), state.upcoming_sleep)

    def _kept(self) -> str:
        size = self._partial.size
        return f"; the {size:,} bytes that came are kept for the next start" if size else ""


def _error(state: RetryCallState) -> Interrupted:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Interrupted)
    return error


def _first_lines(chunk: bytes, count: int) -> bytes:
    """The first `count` lines of a chunk that has at least so many."""
    end = 0
    for _ in range(count):
        end = chunk.index(b"\n", end) + 1
    return chunk[:end]

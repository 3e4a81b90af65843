"""A real HTTP host for tests: threads, port 0, ranges, ETags, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    """What goes wrong in one answer."""

    status: int | None = None  # this status instead of the file
    headers: dict[str, str] = field(default_factory=dict)
    after: int | None = None  # after so many bytes of the body …
    stall: bool = False  # … nothing more comes; else the connection breaks
    content: bytes | None = None  # the file is another one from this answer on
    etag: str | None = None


@dataclass
class Resource:
    """A file of the host."""

    content: bytes
    etag: str | None = '"first"'
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True  # whether Range is honoured
    guarded: bool = True  # whether If-Range is honoured
    chunked: bool = False  # without Content-Length
    delay: float = 0.0  # seconds before an answer
    faults: list[Fault] = field(default_factory=list)  # one for each answer, then none


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that came."""

    path: str
    range: str | None
    if_range: str | None
    accept_encoding: str | None
    method: str = "GET"


class Host:
    """The host's files, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, Resource] = {}
        self.requests: list[ReceivedRequest] = []
        self.sent = 0  # bytes of bodies
        self.answers_head = True
        self.at_once = 0  # the most requests that were answered at the same time
        self.closing = threading.Event()
        self._now = 0
        self._lock = threading.Lock()
        self.url = ""

    def put(self, path: str, content: bytes, **settings: object) -> Resource:
        """Offer a file; returns it, to be changed later."""
        self.files[path] = Resource(content, **settings)  # type: ignore[arg-type]
        return self.files[path]

    def ranges(self) -> list[str | None]:
        """The ranges that were asked for, in their order."""
        return [request.range for request in self.requests]

    def count(self, change: int) -> None:
        with self._lock:
            self._now += change
            self.at_once = max(self.at_once, self._now)


def google_hash(content: bytes) -> str:
    return "crc32c=AAAAAA==,md5=" + base64.b64encode(hashlib.md5(content).digest()).decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: Host) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = host

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that has gone


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        if self.server.host.answers_head:
            self.do_GET()
        else:
            self._head(405, {"Content-Length": "0"})

    def do_GET(self) -> None:
        self.server.host.count(1)
        try:
            with suppress(ConnectionError):
                self._answer(self.server.host)
        finally:
            self.server.host.count(-1)

    def _answer(self, host: Host) -> None:
        path, asked = unquote(urlsplit(self.path).path), self.headers
        came = (path, asked["Range"], asked["If-Range"], asked["Accept-Encoding"], self.command)
        host.requests.append(ReceivedRequest(*came))
        file = host.files.get(path)
        fault = file.faults.pop(0) if file and file.faults else Fault()
        if file is None or fault.status is not None:
            return self._head(fault.status or 404, {"Content-Length": "0", **fault.headers})
        file.content = file.content if fault.content is None else fault.content
        file.etag = fault.etag or file.etag
        host.closing.wait(file.delay)
        headers, status, body, total = dict(file.headers), 200, file.content, len(file.content)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked["Range"] or "")
        same = not file.guarded or asked["If-Range"] in (None, file.etag, file.headers.get("Last-Modified"))
        if span and file.ranges and same:
            start, stop = int(span[1]), min(total, int(span[2]) + 1 if span[2] else total)
            if start >= total:
                return self._head(416, {"Content-Range": f"bytes */{total}", "Content-Length": "0"})
            status, body = 206, body[start:stop]
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
        headers |= {"ETag": file.etag} if file.etag else {}
        if file.chunked:
            headers["Connection"] = "close"
        else:
            headers.setdefault("Content-Length", str(len(body)))
        self._head(status, headers)
        if self.command == "GET":
            self._body(host, body, fault)
        self.close_connection = self.close_connection or fault.after is not None or file.chunked

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, host: Host, body: bytes, fault: Fault) -> None:
        end = len(body) if fault.after is None else min(fault.after, len(body))
        for at in range(0, end, 2**14):
            piece = body[at : min(at + 2**14, end)]
            self.wfile.write(piece)
            host.sent += len(piece)
        if end < len(body) and fault.stall:
            self.wfile.flush()
            host.closing.wait(60)


@contextmanager
def serving() -> Iterator[Host]:
    """A host on 127.0.0.1, for as long as the block runs."""
    host = Host()
    server = _Server(host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield host
    finally:
        host.closing.set()
        server.shutdown()
        server.server_close()

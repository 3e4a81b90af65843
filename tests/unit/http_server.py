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
class Asked:
    """A request that came."""

    path: str
    range: str | None
    if_range: str | None
    accept_encoding: str | None


class Host:
    """The host's files, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, Resource] = {}
        self.asked: list[Asked] = []
        self.sent = 0  # bytes of bodies
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
        return [asked.range for asked in self.asked]

    def count(self, change: int) -> None:
        with self._lock:
            self._now += change
            self.at_once = max(self.at_once, self._now)


def google_hash(content: bytes) -> str:
    return "crc32c=AAAAAA==,md5=" + base64.b64encode(hashlib.md5(content).digest()).decode()


@contextmanager
def serving() -> Iterator[Host]:
    """A host on 127.0.0.1, for as long as the block runs."""
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            host.count(1)
            try:
                with suppress(ConnectionError):
                    answer(self)
            finally:
                host.count(-1)

    def answer(handler: Handler) -> None:
        path, headers = unquote(urlsplit(handler.path).path), handler.headers
        host.asked.append(Asked(path, headers["Range"], headers["If-Range"], headers["Accept-Encoding"]))
        file = host.files.get(path)
        fault = file.faults.pop(0) if file and file.faults else Fault()
        if file is None or fault.status is not None:
            handler.send_response_only(fault.status or 404)
            for name, value in {"Content-Length": "0", **fault.headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            return
        file.content = file.content if fault.content is None else fault.content
        file.etag = fault.etag or file.etag
        host.closing.wait(file.delay)
        total, start, stop, status = len(file.content), 0, len(file.content), 200
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", headers["Range"] or "")
        same = not file.guarded or headers["If-Range"] in (None, file.etag, file.headers.get("Last-Modified"))
        extra = dict(file.headers)
        if span and file.ranges and same:
            start, stop = int(span[1]), min(total, int(span[2]) + 1 if span[2] else total)
            if start >= total:
                handler.send_response_only(416)
                handler.send_header("Content-Range", f"bytes */{total}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            status, extra["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{total}"
        body = file.content[start:stop]
        if not file.chunked:
            extra.setdefault("Content-Length", str(len(body)))
        if file.etag:
            extra["ETag"] = file.etag
        handler.send_response_only(status)
        for name, value in extra.items():
            handler.send_header(name, value)
        if file.chunked:
            handler.send_header("Connection", "close")
        handler.end_headers()
        for at in range(0, len(body), 2**14):
            piece = body[at : at + 2**14]
            broken = fault.after is not None and at + len(piece) > fault.after
            if broken and fault.after is not None:
                piece = piece[: fault.after - at]
            handler.wfile.write(piece)
            host.sent += len(piece)
            if broken:
                handler.wfile.flush()
                if fault.stall:
                    host.closing.wait(5)
                break
        handler.close_connection = handler.close_connection or fault.after is not None or file.chunked

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield host
    finally:
        host.closing.set()
        server.shutdown()
        server.server_close()

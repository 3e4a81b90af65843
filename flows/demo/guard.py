"""What stands between visitors and the page: nothing is asked of another host, by the browser or by this process, and
no request is larger than a page needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

from stages.paths import by_last_use

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 2 * 2**20  # bytes of a request that uploads no file: a drawing has up to 512 kB, twice over
MAX_KEPT = 2 * 2**30  # bytes of all files that are kept for visitors
UPLOAD = "/gradio_api/upload"  # Gradio bounds what comes there by `max_file_size`

# Gradio builds functions from text, as our canvas's script is given to it.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)


class Guard:
    """ASGI middleware: the browser is told to ask no other host, and too large a request is answered with 413."""

    def __init__(self, app: App, folder: Path) -> None:
        """`folder` is where Gradio keeps what visitors upload."""
        self._app, self._folder = app, folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bounded = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/") != UPLOAD
        if not bounded and self._kept() > MAX_KEPT:
            await _refuse(send, 507, "too many files were received within an hour; try again later")
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if bounded and _length(headers.get(b"content-length", b"0")) > MAX_BODY:
            await _refuse(send, 413, f"allowed: {MAX_BODY:,} bytes")
            return
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # Of a request that did not say how long it is; the server closes its connection.
            return {"type": "http.disconnect"} if bounded and received > MAX_BODY else message

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(b"content-security-policy", _POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        await self._app(scope, receive_bounded, send_guarded)

    def _kept(self) -> int:
        files = (path for path in self._folder.rglob("*") if path.is_file())
        return sum(size for _, _, size in by_last_use(files))


async def _refuse(send: Send, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


def open_no_address() -> None:
    """Gradio downloads what a visitor names by an address in place of a file. Here it opens none."""
    from gradio import processing_utils

    def refuse(*_: object, **__: object) -> NoReturn:
        raise ValueError("found an address; allowed: an uploaded file")

    async def refuse_soon(*_: object, **__: object) -> NoReturn:
        refuse()

    processing_utils.ssrf_protected_download = refuse
    processing_utils.async_ssrf_protected_download = refuse_soon


def _length(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 20 else MAX_BODY + 1

"""A clip at any address as a local file."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec

from ....serving import served

MAX_BYTES = 1 << 30
MAX_SECONDS = 300.0
PROTOCOLS = ("https", "http", "s3", "gs", "file")
_CHUNK = 1 << 20
_LATE = "it takes too long to arrive"
_UNREACHABLE = f"no such host can be reached; allowed: {served.ADDRESSES}"


class _TooLarge(ValueError):
    """A file of more bytes than allowed."""


@contextmanager
def local_copy(address: str, *, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> Iterator[Path]:
    """The file that a path or an address names; one that lies elsewhere is copied, for the length of the block.

    Only PROTOCOLS are spoken, and none through another (fsspec's `::`). A served model opens what
    `stages/serving/served.py` allows. Raises ValueError where the file cannot be read, is larger than `max_bytes` or
    takes longer than `max_seconds` to arrive.
    """
    protocol, separator, _ = address.partition("://")
    if not separator or protocol.lower() == "file":
        local = _local(address)
        if local.exists() and not local.is_file():  # reading a pipe would wait for someone who writes
            raise ValueError("not a file, but a folder, a pipe or a device")
        yield local
        return
    if protocol.lower() not in PROTOCOLS:
        raise ValueError(f"found the protocol {protocol[:50]!r}; allowed: {', '.join(PROTOCOLS)}")
    with tempfile.TemporaryDirectory(prefix="unroll-clip-", ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "clip"
        try:
            _copy_in_time(address, target, max_bytes, max_seconds)
        except Exception as error:  # the library behind each protocol has errors of its own
            raise ValueError(_reason(error, protocol.lower())) from None
        yield target


def _local(address: str) -> Path:
    """The file on this machine that a path or a file:// address names, whether that writes it as it is or, as
    `Path.as_uri` does, with %20 for a space.
    """
    find = served.shared_file if served.is_served() else Path
    if "://" not in address:
        return find(address)
    path = address.partition("://")[2]
    path = path.removeprefix("localhost") if path.startswith("localhost/") else path
    with suppress(ValueError):  # it may lie where the server shares files only once %20 is a space
        if (as_it_is := find(path)).exists():
            return as_it_is
    return find(unquote(path))


def _reason(error: Exception, protocol: str) -> str:
    """Why a file could not be copied; of a served model, without a word on its storage and its network."""
    # fsspec's HTTP file system calls every failure a missing file; the failure itself is the cause.
    cause = (error.__cause__ or error) if isinstance(error, FileNotFoundError) else error
    if isinstance(cause, FileNotFoundError):
        return "no such file"
    if served.is_served() and not isinstance(cause, TimeoutError | _TooLarge):
        if not protocol.startswith("http"):
            return "cannot be read"
        if isinstance(cause, OSError):
            return _UNREACHABLE
    return f"cannot be read: {cause or type(cause).__name__}"


def _file_system(protocol: str) -> Any:
    options = {"get_client": served.public_session} if protocol.startswith("http") and served.is_served() else {}
    return fsspec.filesystem(protocol, **options)


def _copy_in_time(address: str, target: Path, max_bytes: int, max_seconds: float) -> None:
    """Copy in a thread of its own, which is abandoned once the time is over: each library behind fsspec bounds in its
    own way, or not at all, how long it waits for a silent host.
    """
    deadline = time.monotonic() + max_seconds
    failures: list[Exception] = []

    def copy() -> None:
        try:
            _copy(address, target, max_bytes, deadline)
        except Exception as error:  # raised in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=copy, daemon=True, name="clip")
    thread.start()
    thread.join(max(max_seconds, 0))
    if failures:
        raise failures[0]
    if thread.is_alive():
        raise TimeoutError(_LATE)


def _copy(address: str, target: Path, max_bytes: int, deadline: float) -> None:
    protocol, _, place = address.partition("://")
    system = _file_system(protocol.lower())  # by its name: fsspec.open would follow what `::` chains
    with system.open(f"{protocol.lower()}://{place}", "rb") as source, target.open("wb") as copy:
        while chunk := source.read(_CHUNK):
            copy.write(chunk)
            if copy.tell() > max_bytes:
                raise _TooLarge(f"found more than the {max_bytes:,} bytes allowed")
            if time.monotonic() > deadline:
                raise TimeoutError(_LATE)

"""A clip at any address as a local file."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import fsspec

MAX_BYTES = 1 << 30
MAX_SECONDS = 300.0
_CHUNK = 1 << 20
_HERE = ("file://", "local://")
_LATE = "it takes too long to arrive"


@contextmanager
def local_copy(address: str, *, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> Iterator[Path]:
    """The file that a path or an fsspec URL names; one that lies elsewhere is copied, for the length of the block.

    Raises ValueError where it cannot be read, is larger than `max_bytes` or takes longer than `max_seconds` to arrive.
    """
    if (local := _local(address)) is not None:
        if local.exists() and not local.is_file():  # reading a pipe would wait for someone who writes
            raise ValueError("no file, but a folder, a pipe or a device")
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="unroll-clip-", ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "clip"
        try:
            _copy_in_time(address, target, max_bytes, max_seconds)
        except FileNotFoundError as error:
            # fsspec's HTTP file system calls every failure a missing file; the failure itself is the cause.
            raise ValueError(f"cannot be read: {error.__cause__}" if error.__cause__ else "no such file") from None
        except Exception as error:  # the library behind each protocol has errors of its own
            raise ValueError(f"cannot be read: {error or type(error).__name__}") from None
        yield target


def _local(address: str) -> Path | None:
    """The file on this machine that an address names, whether a file:// address writes it as it is or, as `Path.as_uri`
    does, with %20 for a space; None where it names none.
    """
    if "://" not in address:
        return Path(address)
    if not address.startswith(_HERE) or "::" in address:
        return None
    path = str(fsspec.core.strip_protocol(address))
    return Path(path) if Path(path).exists() else Path(unquote(path))


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
    with fsspec.open(address, "rb") as source, target.open("wb") as copy:
        while chunk := source.read(_CHUNK):
            copy.write(chunk)
            if copy.tell() > max_bytes:
                raise ValueError(f"found more than {max_bytes:,} bytes; allowed are as many")
            if time.monotonic() > deadline:
                raise TimeoutError(_LATE)

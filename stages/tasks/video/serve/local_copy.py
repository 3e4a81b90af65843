"""A clip at any address as a local file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

MAX_BYTES = 1 << 30
MAX_SECONDS = 300.0
_CHUNK = 1 << 20


@contextmanager
def local_copy(address: str, *, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> Iterator[Path]:
    """The file that a path or an fsspec URL names; one that lies elsewhere is copied, for the length of the block.

    Raises ValueError where it cannot be read, is larger than `max_bytes` or takes longer than `max_seconds` to arrive.
    """
    if "://" not in address:
        yield Path(address)
        return
    with tempfile.TemporaryDirectory(prefix="unroll-clip-") as folder:
        target = Path(folder) / "clip"
        try:
            _copy(address, target, max_bytes, time.monotonic() + max_seconds)
        except FileNotFoundError as error:
            # fsspec's HTTP file system calls every failure a missing file; the failure itself is the cause.
            raise ValueError(f"cannot be read: {error.__cause__}" if error.__cause__ else "no such file") from None
        except Exception as error:  # the library behind each protocol has errors of its own
            raise ValueError(f"cannot be read: {error or type(error).__name__}") from None
        yield target


def _copy(address: str, target: Path, max_bytes: int, deadline: float) -> None:
    with fsspec.open(address, "rb") as source, target.open("wb") as copy:
        while chunk := source.read(_CHUNK):
            copy.write(chunk)
            if copy.tell() > max_bytes:
                raise ValueError(f"found more than {max_bytes:,} bytes; allowed are as many")
            if time.monotonic() > deadline:
                raise TimeoutError("it takes too long to arrive")

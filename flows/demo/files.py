"""Bounds of an uploaded CSV that hold before anything reads it."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 20 * 2**20
MAX_LINE = 16_384  # bytes; the names of a long header are compared with each other
_GZIP = b"\x1f\x8b"


def require_small(path: Path) -> None:
    """Raise ValueError for a file that would take long to read: packed, large, or with a very long line."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"found {size:,} bytes; allowed: {MAX_BYTES:,}")
    content = path.read_bytes()
    if content.startswith(_GZIP):
        raise ValueError("found a file packed with gzip; allowed: a CSV as text")
    if (longest := max(map(len, content.split(b"\n")))) > MAX_LINE:
        raise ValueError(f"found a line of {longest:,} bytes; allowed: {MAX_LINE:,}")

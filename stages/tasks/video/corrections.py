"""A clip with its label, as a file that `source.also` takes in: CLASS/DAY-HASH.mp4."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ...feedback.correction import Correction, FeedbackError, Limits, checked_label, fields

LIMITS = Limits(record=2**26, day=2**30, folder=2**33)
SUFFIX = ""


def correction(record: Mapping[str, Any], moment: datetime) -> Correction:
    """`label`, and `clip`: its bytes, or the path of a file of this machine that the page itself has written."""
    label, clip = fields(record, {"label": (str,), "clip": (bytes, Path)})
    content = clip if isinstance(clip, bytes) else _read(clip)
    digest = blake2b(content, digest_size=16).hexdigest()
    return Correction(label=checked_label(label), identity=digest, content=content, suffix=_suffix(content))


def identity(line: bytes) -> str:
    """Not asked for: where SUFFIX is empty, no correction is a line."""
    raise ValueError("a clip is no line")


def _read(path: Path) -> bytes:
    """Raises FeedbackError for what is no file, or too large to be kept."""
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_size <= LIMITS.record:
            return path.read_bytes()
    except OSError as error:
        raise FeedbackError(f"clip: cannot be read: {error.strerror}") from None
    raise FeedbackError(f"clip: found no file, or {found.st_size:,} bytes; allowed: a file of {LIMITS.record:,} bytes")


def _suffix(content: bytes) -> str:
    """The ending that fits the container, by its first bytes: what a sender calls a file is not believed."""
    if content[4:8] == b"ftyp":
        return ".mov" if content[8:12] == b"qt  " else ".mp4"
    if content.startswith(b"\x1aE\xdf\xa3"):
        return ".webm" if b"webm" in content[:64] else ".mkv"
    if content.startswith(b"RIFF") and content[8:12] == b"AVI ":
        return ".avi"
    raise FeedbackError("clip: not a video container; allowed: MP4, MOV, WebM, Matroska, AVI")

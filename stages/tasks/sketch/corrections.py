"""A drawing with its word, as Quick, Draw! writes one: an ndjson line that `source.also` takes in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from itertools import chain
from typing import Any

import orjson

from ...feedback.correction import Correction, FeedbackError, Limits, checked_label, fields
from .data.parse import BadDrawing, nested

LIMITS = Limits(record=2**18, day=2**25, folder=2**28)
SUFFIX = ".ndjson"
_LARGEST = 1e9  # of a coordinate or a time, as canonical.py allows

Strokes = list[list[list[float]]]  # [[xs, ys], …] or [[xs, ys, ts], …]


def correction(record: Mapping[str, Any], moment: datetime) -> Correction:
    """`word`, `drawing` as `[[xs, ys], …]` or `[[xs, ys, ts], …]`, `recognized`: whether the model said that word."""
    word, drawing, recognized = fields(record, {"word": (str,), "drawing": (list,), "recognized": (bool,)})
    word, strokes = checked_label(word), checked_strokes(drawing)
    row = {"word": word, "countrycode": "", "timestamp": timestamp(moment), "recognized": recognized}
    return Correction(label=word, identity=_identity(key_of(strokes), word), content=line_of(row, strokes))


def identity(line: bytes) -> str:
    """See `Corrections` in tasks/protocol.py."""
    row = orjson.loads(line)
    if not isinstance(row, dict) or not {"key_id", "word"} <= row.keys():
        raise ValueError("not a line with a drawing and its word")
    return _identity(str(row["key_id"]), str(row["word"]))


def _identity(key: str, word: str) -> str:
    return f"{key}\t{word}"


def line_of(row: Mapping[str, Any], strokes: Strokes) -> bytes:
    """A line of Quick, Draw!'s form, the drawing last. Raises FeedbackError where a text is no Unicode."""
    try:
        return orjson.dumps({**row, "key_id": key_of(strokes), "drawing": strokes}) + b"\n"
    except TypeError as error:  # half a surrogate pair
        raise FeedbackError(f"cannot be written: {error}") from None


def key_of(strokes: Strokes) -> str:
    """A hash of the strokes, 64 bits as a decimal number, as the host's key_ids are written."""
    return str(int.from_bytes(blake2b(orjson.dumps(strokes), digest_size=8).digest()))


def timestamp(moment: datetime) -> str:
    """As Quick, Draw! writes it, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S}.00000 UTC"


def checked_strokes(drawing: list[Any]) -> Strokes:
    """The strokes that have points, with numbers of at most two decimals.

    Raises FeedbackError where preprocessing could make nothing of them.
    """
    try:
        points, _, _ = nested(drawing)
    except BadDrawing as error:
        raise FeedbackError(f"drawing: {error}") from None
    if (points == points[0]).all():
        raise FeedbackError("drawing: all points are in the same place; allowed: a drawing with an extent")
    strokes = [[[_short(value) for value in part] for part in stroke] for stroke in drawing if stroke[0]]
    if not all(abs(value) <= _LARGEST for value in chain.from_iterable(chain.from_iterable(strokes))):
        raise FeedbackError(f"drawing: found a value that is not a number up to ±{_LARGEST:g}; allowed: finite numbers")
    return strokes


def _short(value: float) -> float:
    if not math.isfinite(value):
        return math.nan  # which no bound allows
    rounded = round(float(value), 2)
    return int(rounded) if rounded.is_integer() else rounded

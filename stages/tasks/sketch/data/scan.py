"""Drawings of whole numbers straight from JSON's bytes to Strokes, without a Python object for each list and number.

This takes what the host writes, `[[[0,12],[3,4]],…]` without spaces, signs, fractions or empty lists. Of anything else
it only says that it is something else: what that is, and what is wrong with it, `parse.py` finds out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .parse import MAX_INPUT_POINTS
from .simplify import compiled
from .strokes import Strokes

_OPEN, _CLOSE, _COMMA, _BRACE, _ZERO, _NINE, _END = (ord(sign) for sign in "[],}09\n")
_MAX_DIGITS = 6  # of a number


def scan(texts: Sequence[bytes]) -> Strokes | None:
    """One drawing a text, followed by the `}` that ends its line; None where one of them is written otherwise."""
    scanned = Strokes(*_scanned(np.frombuffer(b"\n".join(texts) + b"\n", np.uint8), len(texts)))
    return scanned if len(scanned.points) else None


@compiled
def _scanned(text: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three arrays of Strokes, all empty for a text of another kind."""
    nothing = np.empty((0, 2)), np.empty(0, np.int64), np.empty(0, np.int64)
    points = np.empty((len(text) // 2 + 1, 2))  # a number takes two bytes or more, a stroke nine
    strokes = np.empty(len(text) // 9 + 1, np.int64)
    drawings = np.empty(count, np.int64)
    at = total = stroke = 0
    for drawing in range(count):
        points_before, strokes_before = total, stroke
        following = _OPEN
        while following != _CLOSE:
            if text[at] != following or text[at + 1] != _OPEN or text[at + 2] != _OPEN:
                return nothing
            at, length = _row(text, at + 3, points[total:, 0])
            if not length or text[at] != _COMMA or text[at + 1] != _OPEN:
                return nothing
            at, other = _row(text, at + 2, points[total:, 1])
            if other != length or text[at] != _CLOSE:
                return nothing
            at += 1
            strokes[stroke] = length
            stroke += 1
            total += length
            following = _CLOSE if text[at] == _CLOSE else _COMMA
        if text[at + 1] != _BRACE or text[at + 2] != _END or total - points_before > MAX_INPUT_POINTS:
            return nothing
        at += 3
        drawings[drawing] = stroke - strokes_before
    return points[:total].copy(), strokes[:stroke].copy(), drawings


@compiled
def _row(text: np.ndarray, at: int, values: np.ndarray) -> tuple[int, int]:
    """Read numbers up to the closing bracket into `values`: the place behind it, and how many; 0 for others."""
    count = 0
    while True:
        begin = at
        value = 0
        while _ZERO <= text[at] <= _NINE:
            value = 10 * value + text[at] - _ZERO
            at += 1
        digits = at - begin
        if not 0 < digits <= _MAX_DIGITS or (digits > 1 and text[begin] == _ZERO):
            return at, 0
        values[count] = value
        count += 1
        at += 1
        if text[at - 1] == _CLOSE:
            return at, count
        if text[at - 1] != _COMMA:
            return at, 0

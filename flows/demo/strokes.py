"""Drawings as the page's canvas sends them: `[[xs, ys, ts], …]` as JSON, bounded before anything else looks at them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

MAX_TEXT = 512 * 2**10  # characters; the canvas stops at MAX_POINTS, which come to a third of that
MAX_STROKES, MAX_POINTS = 500, 10_000
_MAX_COORDINATE = 1e6

Stroke = list[list[float]]  # xs, ys and, where they are known, ts in milliseconds


class BadStrokes(ValueError):
    """What came is no drawing; the message says what was found and what is allowed."""


def parse(text: Any) -> list[Stroke]:
    """The strokes of a drawing in their order; none for an empty canvas. Raises BadStrokes."""
    if text is None or text == "":
        return []
    if not isinstance(text, str):
        raise BadStrokes(f"drawing: found {type(text).__name__}; allowed: JSON text of [[xs, ys, ts], …]")
    if len(text) > MAX_TEXT:
        raise BadStrokes(f"drawing: found {len(text):,} characters; allowed: {MAX_TEXT:,}")
    try:
        strokes = json.loads(text)
    except (ValueError, RecursionError):
        raise BadStrokes("drawing: not JSON; allowed: [[xs, ys, ts], …]") from None
    if not isinstance(strokes, list) or len(strokes) > MAX_STROKES:
        found = f"{len(strokes):,} strokes" if isinstance(strokes, list) else type(strokes).__name__
        raise BadStrokes(f"drawing: found {found}; allowed: a list of at most {MAX_STROKES} strokes")
    for stroke in strokes:
        _check(stroke)
    if len({len(stroke) for stroke in strokes}) > 1:
        raise BadStrokes("drawing: found strokes with times and others without; allowed: all or none with times")
    if (points := sum(len(stroke[0]) for stroke in strokes)) > MAX_POINTS:
        raise BadStrokes(f"drawing: found {points:,} points; allowed: {MAX_POINTS:,}")
    return strokes


def prefixes(strokes: list[Stroke], most: int) -> Iterator[tuple[float, list[Stroke]]]:
    """The drawing as it was at up to `most` moments, evenly over its points, and when that was: in seconds from the
    first point on where all points have a time, else as the share of the points, 0 to 1. The last is the whole drawing.
    """
    total = sum(len(stroke[0]) for stroke in strokes)
    timed = len(strokes[0]) == 3
    for count in sorted({max(min(2, total), math.ceil(total * part / most)) for part in range(1, most + 1)}):
        seen, left = [], count
        for stroke in strokes:
            if left <= 0:
                break
            seen.append([values[:left] for values in stroke])
            left -= len(stroke[0])
        yield ((seen[-1][2][-1] - strokes[0][2][0]) / 1000 if timed else count / total), seen


def _check(stroke: Any) -> None:
    if not isinstance(stroke, list) or len(stroke) not in (2, 3) or not all(isinstance(v, list) for v in stroke):
        raise BadStrokes("drawing: found a stroke that is not [xs, ys] or [xs, ys, ts]")
    if not stroke[0] or len({len(values) for values in stroke}) != 1:
        raise BadStrokes(
            "drawing: found a stroke whose lists are empty or differ in length; allowed: one value per point"
        )
    for value in (value for values in stroke for value in values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_COORDINATE:
            raise BadStrokes(f"drawing: found a value that is not a number of at most {_MAX_COORDINATE:,.0f}")

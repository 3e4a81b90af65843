"""What the network reads of a step: the way it goes, where it is, whether the pen touches down or leaves the paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.strokes import SIDE, starts
from ..params import Feature

COLUMNS: dict[Feature, tuple[str, ...]] = {
    "offset": ("dx", "dy"),
    "position": ("x", "y"),
    "pen": ("pen_down", "pen_up"),
    "speed": ("speed",),
    "direction": ("cosine", "sine"),
    "stroke": ("stroke",),
}
_OFFSET_SCALE = 8.0  # a step is 20 to 30 pixels of 255 long: brings offsets to about the size of the other features
_STROKES = 10.0  # most drawings have fewer strokes: brings their numbers below one


def columns(chosen: Sequence[Feature]) -> tuple[str, ...]:
    """The names of the columns that `features` gives."""
    return tuple(name for feature in chosen for name in COLUMNS[feature])


def features(steps: np.ndarray, lengths: np.ndarray, chosen: Sequence[Feature]) -> np.ndarray:
    """`(steps, 3)` x, y, pen_up of all drawings, one after the other, as `(steps, columns)` float32.

    Positions count from the middle of the drawing's box, in halves of its longer side. A drawing's first step has no
    offset; the first step of a later stroke has the offset of the way that the pen went above the paper. `speed` is the
    length of the offset: points are stored without time, but a step between two of them is the longer the straighter
    the line. `direction` is the offset by its length, `(0, 0)` where there is none; `stroke` is the number of strokes
    before, in tens.
    """
    firsts = starts(lengths)
    points = steps[:, :2].astype(np.float32)
    low = np.minimum.reduceat(points, firsts, axis=0)
    high = np.maximum.reduceat(points, firsts, axis=0)
    half = np.maximum((high - low).max(axis=1) / 2, SIDE / 1000)
    position = (points - np.repeat((low + high) / 2, lengths, axis=0)) / np.repeat(half, lengths)[:, None]
    offset = np.zeros_like(position)
    offset[1:] = np.diff(position, axis=0) * (_OFFSET_SCALE / 2)
    offset[firsts] = 0.0
    pen = np.zeros((len(steps), 2), dtype=np.float32)
    pen[1:, 0] = steps[:-1, 2]
    pen[firsts, 0] = 1.0
    pen[:, 1] = steps[:, 2]
    values = {"offset": offset, "position": position, "pen": pen}
    if "speed" in chosen or "direction" in chosen:
        speed = np.hypot(offset[:, :1], offset[:, 1:])
        values["speed"] = speed
        values["direction"] = np.divide(offset, speed, out=np.zeros_like(offset), where=speed > 0)
    if "stroke" in chosen:
        touched = np.cumsum(pen[:, 0])
        values["stroke"] = ((touched - np.repeat(touched[firsts], lengths)) / _STROKES)[:, None]
    return np.concatenate([values[feature] for feature in chosen], axis=1, dtype=np.float32)

"""What the network reads of a step: the way it goes, where it is, whether the pen touches down or leaves the paper."""

from __future__ import annotations

import numpy as np

from ..source.strokes import SIDE

FEATURES = ("dx", "dy", "x", "y", "pen_down", "pen_up")
_OFFSET_SCALE = 8.0  # a step is 20 to 30 pixels of 255 long: brings offsets to about the size of the other features


def features(steps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`(steps, 3)` x, y, pen_up of all drawings, one after the other, as `(steps, features)` float32.

    Positions count from the middle of the drawing's box, in halves of its longer side. A drawing's first step has no
    offset; the first step of a later stroke has the offset of the way that the pen went above the paper.
    """
    starts = np.cumsum(lengths) - lengths
    points = steps[:, :2].astype(np.float32)
    low = np.minimum.reduceat(points, starts, axis=0)
    high = np.maximum.reduceat(points, starts, axis=0)
    half = np.maximum((high - low).max(axis=1) / 2, SIDE / 1000)
    values = np.zeros((len(steps), len(FEATURES)), dtype=np.float32)
    position = (points - np.repeat((low + high) / 2, lengths, axis=0)) / np.repeat(half, lengths)[:, None]
    values[:, 2:4] = position
    values[1:, 0:2] = np.diff(position, axis=0) * (_OFFSET_SCALE / 2)
    values[starts, 0:2] = 0.0
    values[:, 5] = steps[:, 2]
    values[1:, 4] = steps[:-1, 2]
    values[starts, 4] = 1.0
    return values

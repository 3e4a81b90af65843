"""Strokes in one order. What a drawing shows does not say which stroke came first, nor from which end; a network that
need not guess either learns the rest from fewer drawings.
"""

from __future__ import annotations

import numpy as np

_CLOSED = 0.1  # of a stroke's longer side: ends that lie nearer are one point
_LEAST_CLOSED = 4  # points, the end that is the beginning once more included
_LARGE = 0.5  # of the drawing's longer side
_CENTRAL = 0.2  # the same: a stroke whose middle lies nearer to the drawing's


def in_order(steps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`(steps, 3)` x, y, pen_up of all drawings, one after the other, with the strokes of each in one order.

    Large ones come first, then those at the drawing's middle, both by size, then the others clockwise about it, from
    the top on. An open stroke goes down, or to the right; a closed one begins at its top and goes clockwise, and its
    last point, which lies nearly on the first, becomes the same.
    """
    ends = np.flatnonzero(steps[:, 2])
    starts = np.r_[0, ends[:-1] + 1]
    counts = ends + 1 - starts
    drawing = np.repeat(np.arange(len(lengths)), lengths)[starts]
    points = steps[:, :2].astype(np.int64)
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    size = (high - low).max(axis=1)

    first, last = points[starts], points[ends]
    closed = (counts >= _LEAST_CLOSED) & (np.hypot(*(last - first).T) <= _CLOSED * size)
    number = np.repeat(np.arange(len(starts)), counts)
    place = np.arange(len(steps)) - starts[number]
    following = np.where(place + 1 < counts[number], np.arange(len(steps)) + 1, starts[number])
    turns = points[:, 0] * points[following, 1] - points[following, 0] * points[:, 1]  # twice the area, clockwise
    back = np.where(closed, np.add.reduceat(turns, starts) < 0, first @ [1, 2] > last @ [1, 2])
    # The highest point, the leftmost of several; the end of a closed stroke is its beginning and does not count.
    height = points[:, 1] * 1000 + points[:, 0] + np.where(place + 1 == counts[number], 10**6, 0)
    top = np.lexsort((height, number))[starts] - starts

    of_drawing = np.flatnonzero(np.r_[True, np.diff(drawing) > 0])
    least, most = np.minimum.reduceat(low, of_drawing), np.maximum.reduceat(high, of_drawing)
    side = (most - least).max(axis=1)[drawing]
    away = ((low + high) - (least + most)[drawing]) / 2
    angle = np.arctan2(away[:, 0], -away[:, 1]) / (2 * np.pi) % 1  # in turns, from the top on
    group = np.where(size >= _LARGE * side, 0, np.where(np.hypot(*away.T) < _CENTRAL * side, 1, 2))
    order = np.lexsort((np.where(group == 2, angle, -size), group, drawing))

    whole = np.repeat(order, counts[order])  # the stroke of each step of the result
    step = np.arange(len(steps)) - np.repeat(np.cumsum(counts[order]) - counts[order], counts[order])
    way = np.where(back, -1, 1)[whole] * step
    around = np.maximum(counts - 1, 1)[whole]
    open_place = np.where(back[whole], counts[whole] - 1 + way, way)
    chosen = starts[whole] + np.where(closed[whole], (top[whole] + way) % around, open_place)
    return np.column_stack([steps[chosen, :2], (step + 1 == counts[whole]).astype(steps.dtype)])

"""From strokes as they were drawn to the one sequence that the network reads, for many drawings at once.

Quick, Draw! comes in three forms, and a network that can tell them apart would learn the form instead of the drawing.
So every drawing, from a file or from a caller, passes through `canonical_steps`:

1. A drawing that is not yet simplified is simplified as Google documents it (https://github.com/googlecreativelab/
   quickdraw-dataset, "Simplified Drawing files"): align to 0, scale the longer side to 255, resample each stroke at
   1 pixel, Ramer-Douglas-Peucker with epsilon 2, round. "Simplified" is read from the points, not from the file's form:
   whole numbers, 255 as the longer side, and few points that step 2 would drop.
2. Align, scale, Ramer-Douglas-Peucker and rounding once more, without resampling. Drawings of all forms have then been
   through the same last step, whatever was done to them before.

The loops over points are compiled by Numba, once: what it makes is kept beside this file, or in the user's folder
where nothing can be written there. Each stroke and each drawing is worked out by itself, with the same operations in
the same order, so that no last bit depends on its neighbours: last bits decide between points that are equally far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import numba
import numpy as np

from .strokes import SIDE, Strokes

Function = TypeVar("Function", bound=Callable[..., Any])

EPSILON = 2.0  # pixels that Ramer-Douglas-Peucker may move a line
MAX_LINE_LENGTH = 100_000  # pixels that a pen may travel in one drawing, about 400 times its width: bounds memory


def compiled(function: Function) -> Function:
    """The function compiled at its first call, and kept. Without fast arithmetic, which may reorder sums."""
    try:
        return cast(Function, numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:  # there is nowhere to keep it, as in a container that may not write
        return cast(Function, numba.njit(error_model="numpy")(function))


def align_and_scale(strokes: Strokes) -> Strokes:
    """Bounding boxes begin at 0 and have a longer side of 255; the aspect is kept. Dots keep their size of 0."""
    return replace(strokes, points=_aligned(strokes.points, strokes.points_per_drawing))


def simplify(strokes: Strokes) -> Strokes:
    """Google's simplification: whole numbers from 0 to 255. A dot becomes two equal points, as theirs do."""
    reduced = reduce_points(resample(align_and_scale(strokes)))
    return replace(reduced, points=np.rint(reduced.points))


def resample(strokes: Strokes) -> Strokes:
    """Points at every pixel of a stroke's way, from its first point on, and its last point."""
    return Strokes(*_resampled(strokes.points, strokes.points_per_stroke), strokes.strokes_per_drawing)


def reduce_points(strokes: Strokes) -> Strokes:
    """Ramer-Douglas-Peucker: drop points that lie no further than EPSILON from the line that is left in their place.

    (Ramer 1972; Douglas and Peucker 1973; distances to the infinite line, which is what reproduces Google's own
    output.)
    """
    return Strokes(*_reduced(strokes.points, strokes.points_per_stroke), strokes.strokes_per_drawing)


def canonical_steps(strokes: Strokes) -> tuple[np.ndarray, np.ndarray]:
    """The steps of all drawings, `(steps, 3)` uint8, and how many each has, `(drawings,)`.

    A step is x, y (0 to 255) and 1 where the pen leaves the paper. Points that fall together after rounding are one
    step, so that a dot is one step. The drawings must have an extent.
    """
    return _canonical(strokes.points, strokes.points_per_stroke, strokes.strokes_per_drawing)


@compiled
def extents(points: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least corner `(drawings, 2)` and the longer side `(drawings,)` of the box round each drawing's points."""
    low = np.empty((len(lengths), 2))
    side = np.empty(len(lengths))
    start = 0
    for drawing, length in enumerate(lengths):
        left, top = points[start]
        right, bottom = left, top
        for place in range(start + 1, start + length):
            x, y = points[place]
            left, right = min(left, x), max(right, x)
            top, bottom = min(top, y), max(bottom, y)
        low[drawing] = left, top
        side[drawing] = max(right - left, bottom - top)
        start += length
    return low, side


@compiled
def line_lengths(points: np.ndarray, strokes: np.ndarray, drawings: np.ndarray) -> np.ndarray:
    """How far the pen travels on the paper in each drawing, `(drawings,)`, in the drawing's own unit."""
    line = np.zeros(len(drawings))
    stroke = start = 0
    for drawing, count in enumerate(drawings):
        for length in strokes[stroke : stroke + count]:
            for place in range(start + 1, start + length):
                line[drawing] += _distance(points, place - 1, place)
            start += length
        stroke += count
    return line


@compiled
def _aligned(points: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    low, side = extents(points, lengths)
    aligned = np.empty(points.shape)
    start = 0
    for drawing, length in enumerate(lengths):
        divisor = side[drawing] if side[drawing] > 0 else float(SIDE)
        for place in range(start, start + length):
            for axis in range(2):
                aligned[place, axis] = (points[place, axis] - low[drawing, axis]) * SIDE / divisor
        start += length
    return aligned


@compiled
def _resampled(points: np.ndarray, strokes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twice along each stroke: to count the new points, and to set them."""
    counts = np.empty(len(strokes), np.int64)
    first = 0
    for stroke, length in enumerate(strokes):
        travelled = 0.0
        for place in range(first + 1, first + length):
            travelled += _distance(points, place - 1, place)
        counts[stroke] = max(np.ceil(travelled), 1) + 1  # pixel 0 is there even in a dot
        first += length
    resampled = np.empty((counts.sum(), 2))
    first = made = 0
    for stroke, length in enumerate(strokes):
        resampled[made] = points[first]
        travelled = 0.0
        pixel = 1
        # Pixel k lies in the segment that begins at or before it and ends behind it.
        for place in range(first + 1, first + length):
            width = _distance(points, place - 1, place)
            while pixel < travelled + width:
                share = (pixel - travelled) / width
                for axis in range(2):
                    between = points[place - 1, axis] * (1 - share) + points[place, axis] * share
                    resampled[made + pixel, axis] = between
                pixel += 1
            travelled += width
        first += length
        made += counts[stroke]
        resampled[made - 1] = points[first - 1]
    return resampled, counts


@compiled
def _reduced(points: np.ndarray, strokes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = np.zeros(len(points), np.bool_)
    counts = np.empty(len(strokes), np.int64)
    waiting = np.empty((len(points), 2), np.int64)  # first and last points of the pieces that may be halved
    start = 0
    for stroke, length in enumerate(strokes):
        end = start + length - 1
        keep[start] = keep[end] = True
        waiting[0] = start, end
        pieces = 1
        while pieces:
            pieces -= 1
            first, last = waiting[pieces]
            middle, distance = _furthest(points, first, last)
            if distance > EPSILON:
                keep[middle] = True
                waiting[pieces] = first, middle
                waiting[pieces + 1] = middle, last
                pieces += 2
        counts[stroke] = keep[start : end + 1].sum()
        start = end + 1
    return points[keep], counts


@compiled
def _furthest(points: np.ndarray, first: int, last: int) -> tuple[int, float]:
    """The point between two that is furthest from the line through them, and how far; the first of equally far ones.

    Where the two fall together the line has no direction, and the distance is to that point.
    """
    x, y = points[first]
    along_x, along_y = points[last, 0] - x, points[last, 1] - y
    length = np.sqrt(along_x * along_x + along_y * along_y)
    middle, greatest = first, 0.0
    for place in range(first + 1, last):
        away_x, away_y = points[place, 0] - x, points[place, 1] - y
        if length == 0:
            distance = np.sqrt(away_x * away_x + away_y * away_y)
        else:
            distance = abs(along_x * away_y - along_y * away_x) / length
        if distance > greatest:
            middle, greatest = place, distance
    return middle, greatest


@compiled
def _distance(points: np.ndarray, one: int, other: int) -> float:
    x, y = points[other, 0] - points[one, 0], points[other, 1] - points[one, 1]
    return np.sqrt(x * x + y * y)


@compiled
def _canonical(points: np.ndarray, strokes: np.ndarray, drawings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    steps = np.zeros((len(points), 3), np.uint8)
    lengths = np.empty(len(drawings), np.int64)
    stroke = start = end = 0
    for drawing, count in enumerate(drawings):
        own_strokes = strokes[stroke : stroke + count]
        own = points[start : start + own_strokes.sum()]
        stroke += count
        start += len(own)
        whole = np.full(1, len(own))
        scaled = _aligned(own, whole)
        kept, kept_strokes = _reduced(scaled, own_strokes)
        if not (_whole_and_full_size(own) and 4 * len(kept) >= 3 * len(own)):
            kept, kept_strokes = _reduced(*_resampled(scaled, own_strokes))
            kept = np.rint(kept)
            kept, kept_strokes = _reduced(_aligned(kept, np.full(1, len(kept))), kept_strokes)
        if end + len(kept) > len(steps):
            steps = np.concatenate((steps, np.zeros((len(steps) + len(kept), 3), np.uint8)))
        begin = end
        end = _set_steps(np.rint(kept), kept_strokes, steps, end)
        lengths[drawing] = end - begin
    return steps[:end].copy(), lengths


@compiled
def _whole_and_full_size(points: np.ndarray) -> bool:
    """Whether a drawing's coordinates are whole numbers and its longer side is 255, or a little less.

    Less, since resampling can cut off the outermost corner: some of Google's own drawings have 240.
    """
    for x, y in points:
        if x != np.floor(x) or y != np.floor(y):
            return False
    _, side = extents(points, np.full(1, len(points)))
    return 0.8 * SIDE < side[0] <= SIDE


@compiled
def _set_steps(points: np.ndarray, strokes: np.ndarray, steps: np.ndarray, end: int) -> int:
    """Write a drawing's steps behind the first `end`; gives the new end."""
    start = 0
    for length in strokes:
        for place in range(start, start + length):
            x, y = points[place]
            if place == start or x != points[place - 1, 0] or y != points[place - 1, 1]:
                steps[end, 0], steps[end, 1] = x, y
                end += 1
        steps[end - 1, 2] = 1
        start += length
    return end

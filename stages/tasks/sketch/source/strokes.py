"""From strokes as they were drawn to the one sequence that the network reads, for many drawings at once.

Quick, Draw! comes in three forms, and a network that can tell them apart would learn the form instead of the drawing.
So every drawing, from a file or from a caller, passes through `canonical`:

1. A drawing that is not yet simplified is simplified as Google documents it (https://github.com/googlecreativelab/
   quickdraw-dataset, "Simplified Drawing files"): align to 0, scale the longer side to 255, resample each stroke at
   1 pixel, Ramer-Douglas-Peucker with epsilon 2, round. "Simplified" is read from the points, not from the file's form:
   whole numbers, 255 as the longer side, and few points that step 2 would drop.
2. Align, scale, Ramer-Douglas-Peucker and rounding once more, without resampling. Drawings of all forms have then been
   through the same last step, whatever was done to them before.

Everything works on flat arrays: no loop over points, strokes or drawings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIDE = 255  # pixels of the longer side, as in Google's simplified form
EPSILON = 2.0  # pixels that Ramer-Douglas-Peucker may move a line
MAX_LINE_LENGTH = 100_000  # pixels that a pen may travel in one drawing, about 400 times its width: bounds memory
PIXELS_TOGETHER = 2**17  # of lines that are resampled at once


@dataclass(frozen=True, slots=True)
class Ink:
    """Drawings laid flat. No stroke is without points, no drawing without strokes."""

    points: np.ndarray  # (points, 2) float64: x to the right, y downwards
    strokes: np.ndarray  # (strokes,) int64: the points of each stroke
    drawings: np.ndarray  # (drawings,) int64: the strokes of each drawing

    def __len__(self) -> int:
        return len(self.drawings)

    @property
    def stroke_starts(self) -> np.ndarray:
        """`(strokes,)`: each stroke's first point."""
        return np.cumsum(self.strokes) - self.strokes

    @property
    def lengths(self) -> np.ndarray:
        """`(drawings,)`: the points of each drawing."""
        return np.add.reduceat(self.strokes, np.cumsum(self.drawings) - self.drawings)

    def take(self, which: np.ndarray) -> Ink:
        """Some drawings, in the order of their numbers in `which`."""
        first_stroke = np.cumsum(self.drawings) - self.drawings
        strokes = ranges(first_stroke[which], self.drawings[which])
        points = ranges(self.stroke_starts[strokes], self.strokes[strokes])
        return Ink(self.points[points], self.strokes[strokes], self.drawings[which])


def join(parts: Sequence[Ink]) -> Ink:
    """One Ink after the other."""
    return Ink(
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.strokes for p in parts]),
        np.concatenate([p.drawings for p in parts]),
    )


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`[start, start + 1, …]`, `length` numbers of each, one after the other."""
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum()))


def extents(ink: Ink) -> tuple[np.ndarray, np.ndarray]:
    """The least corner `(drawings, 2)` and the longer side `(drawings,)` of each drawing's bounding box."""
    lengths = ink.lengths
    starts = np.cumsum(lengths) - lengths
    low = np.minimum.reduceat(ink.points, starts, axis=0)
    high = np.maximum.reduceat(ink.points, starts, axis=0)
    return low, (high - low).max(axis=1)


def line_lengths(ink: Ink) -> np.ndarray:
    """How far the pen travels on the paper in each drawing, `(drawings,)`, in the drawing's own unit."""
    steps = _steps(ink)
    lengths = ink.lengths
    return np.add.reduceat(steps, np.cumsum(lengths) - lengths)


def align_and_scale(ink: Ink) -> Ink:
    """Bounding boxes begin at 0 and have a longer side of 255; the aspect is kept. Dots keep their size of 0."""
    low, side = extents(ink)
    lengths = ink.lengths
    points = (ink.points - np.repeat(low, lengths, axis=0)) * SIDE
    points /= np.repeat(np.where(side > 0, side, SIDE), lengths)[:, None]
    return Ink(points, ink.strokes, ink.drawings)


def simplify(ink: Ink) -> Ink:
    """Google's simplification: whole numbers from 0 to 255. A dot becomes two equal points, as theirs do."""
    ink = resample(align_and_scale(ink))
    return _rounded(reduce_points(ink))


def resample(ink: Ink) -> Ink:
    """Points at every pixel of a stroke's way, from its first point on, and its last point."""
    starts = ink.stroke_starts
    ends = starts + ink.strokes - 1
    steps = _steps(ink)
    travelled = _running_sums(steps, ink.strokes)
    # Pixel k lies in the segment that begins at or before it and ends behind it; pixel 0 is there even in a dot.
    first = np.ceil(travelled).astype(np.int64)
    samples = np.diff(first, append=0)  # of the segment that begins at each point; a stroke's last point begins none
    samples[ends] = 0
    samples[starts[travelled[ends] == 0]] = 1
    segment = np.repeat(np.arange(len(first)), samples)
    beyond = ranges(first, samples) - travelled[segment]
    width = np.append(steps[1:], 0.0)[segment]
    share = (beyond / np.where(width > 0, width, 1.0))[:, None]
    following = np.minimum(segment + 1, len(ink.points) - 1)
    between = ink.points[segment] * (1 - share) + ink.points[following] * share
    counts = np.add.reduceat(samples, starts) + 1
    last = np.cumsum(counts) - 1
    points = np.empty((int(counts.sum()), 2))
    inner = np.ones(len(points), dtype=bool)
    inner[last] = False
    points[inner] = between
    points[last] = ink.points[ends]
    return Ink(points, counts, ink.drawings)


def reduce_points(ink: Ink) -> Ink:
    """Ramer-Douglas-Peucker: drop points that lie no further than EPSILON from the line that is left in their place.

    All pieces of all strokes are halved together, level by level. (Ramer 1972; Douglas and Peucker 1973; distances to
    the infinite line, which is what reproduces Google's own output.)
    """
    points = ink.points
    x, y = np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])
    first = ink.stroke_starts
    last = first + ink.strokes - 1
    keep = np.zeros(len(points), dtype=bool)
    keep[first] = True
    keep[last] = True
    while True:
        wide = last - first > 1
        first, last = first[wide], last[wide]
        if not len(first):
            break
        middle, distance = _furthest(x, y, first, last)
        split = distance > EPSILON
        first, middle, last = first[split], middle[split], last[split]
        keep[middle] = True
        first, last = np.concatenate([first, middle]), np.concatenate([middle, last])
    return Ink(points[keep], np.add.reduceat(keep.astype(np.int64), ink.stroke_starts), ink.drawings)


def canonical(ink: Ink) -> tuple[np.ndarray, np.ndarray]:
    """The steps of all drawings, `(steps, 3)` uint8, and how many each has, `(drawings,)`.

    A step is x, y (0 to 255) and 1 where the pen leaves the paper. Points that fall together after rounding are one
    step, so that a dot is one step. The drawings must have an extent.
    """
    scaled = align_and_scale(ink)
    reduced = reduce_points(scaled)
    rough = ~(_whole_and_full_size(ink) & (4 * reduced.lengths >= 3 * ink.lengths))
    if rough.any():
        simplified = join([simplify(ink.take(some)) for some in _together(scaled, np.flatnonzero(rough))])
        reduced = _replaced(reduced, rough, reduce_points(align_and_scale(simplified)))
    ink = _rounded(reduced)
    starts = ink.stroke_starts
    moved = np.ones(len(ink.points), dtype=bool)
    other = ink.points[1:] != ink.points[:-1]
    moved[1:] = other[:, 0] | other[:, 1]
    moved[starts] = True
    strokes = np.add.reduceat(moved.astype(np.int64), starts)
    steps = np.zeros((int(strokes.sum()), 3), dtype=np.uint8)
    steps[:, :2] = ink.points[moved]
    steps[np.cumsum(strokes) - 1, 2] = 1
    return steps, np.add.reduceat(strokes, np.cumsum(ink.drawings) - ink.drawings)


def _whole_and_full_size(ink: Ink) -> np.ndarray:
    """`(drawings,)` bool: whether coordinates are whole numbers and the longer side is 255, or a little less.

    Less, since resampling can cut off the outermost corner: some of Google's own drawings have 240.
    """
    _, side = extents(ink)
    lengths = ink.lengths
    fraction = ink.points != np.floor(ink.points)
    whole = ~np.logical_or.reduceat(fraction[:, 0] | fraction[:, 1], np.cumsum(lengths) - lengths)
    return whole & (side > 0.8 * SIDE) & (side <= SIDE)


def _together(scaled: Ink, numbers: np.ndarray) -> list[np.ndarray]:
    """The drawings of these numbers in stretches of about PIXELS_TOGETHER, which bounds what resampling takes."""
    stretch = np.cumsum(line_lengths(scaled.take(numbers))) // PIXELS_TOGETHER
    return np.split(numbers, np.flatnonzero(np.diff(stretch)) + 1)


def _replaced(ink: Ink, which: np.ndarray, others: Ink) -> Ink:
    """The drawings with those that `which`, `(drawings,)` bool, marks replaced by `others`, in order."""
    numbers = np.arange(len(ink))
    order = np.argsort(np.concatenate([numbers[~which], numbers[which]]))
    kept = [ink.take(numbers[~which])] if not which.all() else []
    return join([*kept, others]).take(order)


def _steps(ink: Ink) -> np.ndarray:
    """`(points,)`: the distance from the point before it in the stroke, 0 for a stroke's first point."""
    steps = np.zeros(len(ink.points))
    way = ink.points[1:] - ink.points[:-1]
    steps[1:] = np.sqrt(way[:, 0] * way[:, 0] + way[:, 1] * way[:, 1])
    steps[ink.stroke_starts] = 0.0
    return steps


def _running_sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`(values,)`: sums that begin anew in each stretch of so many `lengths`, each added up from its own begin.

    One sum over all, less what it was at each begin, would have other last bits with every other neighbour. So
    stretches of like length stand in the rows of a matrix, at the most half of it empty.
    """
    sums = np.empty_like(values)
    starts = np.cumsum(lengths) - lengths
    sizes = np.frexp(lengths)[1]
    for size in np.unique(sizes):
        which = np.flatnonzero(sizes == size)
        places = np.arange(lengths[which].max())
        inside = places < lengths[which, None]
        rows = np.zeros(inside.shape)
        index = ranges(starts[which], lengths[which])
        rows[inside] = values[index]
        sums[index] = np.cumsum(rows, axis=1)[inside]
    return sums


def _furthest(x: np.ndarray, y: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inner point of each piece that is furthest from the line through its `first` and `last` point, and how far.

    The first one of several that are equally far. Where first and last fall together the line has no direction, and the
    distance is to that point.
    """
    inner = last - first - 1
    starts = np.cumsum(inner) - inner
    piece = np.repeat(np.arange(len(inner)), inner)
    index = np.arange(len(piece)) + (first + 1 - starts)[piece]
    along_x, along_y = x[last] - x[first], y[last] - y[first]
    length = np.sqrt(along_x * along_x + along_y * along_y)
    away_x = x[index] - x[first][piece]
    away_y = y[index] - y[first][piece]
    closed = length == 0
    distance = np.abs(along_x[piece] * away_y - along_y[piece] * away_x)
    distance /= np.where(closed, 1.0, length)[piece]
    if closed.any():
        round_trip = closed[piece]
        distance[round_trip] = np.sqrt(away_x[round_trip] ** 2 + away_y[round_trip] ** 2)
    greatest = np.maximum.reduceat(distance, starts)
    candidates = np.flatnonzero(distance == greatest[piece])
    at_first = candidates[np.searchsorted(candidates, starts)]
    return index[at_first], greatest


def _rounded(ink: Ink) -> Ink:
    return Ink(np.rint(ink.points), ink.strokes, ink.drawings)

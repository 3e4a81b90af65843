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
    starts = ink.stroke_starts
    keep = np.zeros(len(points), dtype=bool)
    keep[starts] = True
    keep[starts + ink.strokes - 1] = True
    first, last = starts, starts + ink.strokes - 1
    while True:
        wide = last - first > 1
        first, last = first[wide], last[wide]
        if not len(first):
            break
        inner = last - first - 1
        distance = _distances(x, y, first, last, inner)
        piece_starts = np.cumsum(inner) - inner
        furthest = np.maximum.reduceat(distance, piece_starts)
        split = furthest > EPSILON
        at_furthest = np.flatnonzero(distance == np.repeat(furthest, inner))
        # The first of several points that are equally far.
        at_first = at_furthest[np.searchsorted(at_furthest, piece_starts)]
        middle = first + 1 + at_first - piece_starts
        keep[middle[split]] = True
        first, last = (
            np.stack([first[split], middle[split]], axis=1).reshape(-1),
            np.stack([middle[split], last[split]], axis=1).reshape(-1),
        )
    return Ink(points[keep], np.add.reduceat(keep.astype(np.int64), starts), ink.drawings)


def canonical(ink: Ink) -> tuple[np.ndarray, np.ndarray]:
    """The steps of all drawings, `(steps, 3)` uint8, and how many each has, `(drawings,)`.

    A step is x, y (0 to 255) and 1 where the pen leaves the paper. Points that fall together after rounding are one
    step, so that a dot is one step. The drawings must have an extent.
    """
    scaled = align_and_scale(ink)
    reduced = reduce_points(scaled)
    rough = ~(_whole_and_full_size(ink) & (4 * reduced.lengths >= 3 * ink.lengths))
    if rough.any():
        reduced = _replaced(reduced, rough, reduce_points(align_and_scale(simplify(ink.take(np.flatnonzero(rough))))))
    ink = _rounded(reduced)
    starts = ink.stroke_starts
    moved = np.ones(len(ink.points), dtype=bool)
    moved[1:] = (ink.points[1:] != ink.points[:-1]).any(axis=1)
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
    whole = np.logical_and.reduceat((ink.points == np.floor(ink.points)).all(axis=1), np.cumsum(lengths) - lengths)
    return whole & (side > 0.8 * SIDE) & (side <= SIDE)


def _replaced(ink: Ink, which: np.ndarray, others: Ink) -> Ink:
    """The drawings with those that `which`, `(drawings,)` bool, marks replaced by `others`, in order."""
    numbers = np.arange(len(ink))
    order = np.argsort(np.concatenate([numbers[~which], numbers[which]]))
    kept = [ink.take(numbers[~which])] if not which.all() else []
    return join([*kept, others]).take(order)


def _steps(ink: Ink) -> np.ndarray:
    """`(points,)`: the distance from the point before it in the stroke, 0 for a stroke's first point."""
    steps = np.zeros(len(ink.points))
    steps[1:] = np.sqrt((np.diff(ink.points, axis=0) ** 2).sum(axis=1))
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


def _distances(x: np.ndarray, y: np.ndarray, first: np.ndarray, last: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """From every inner point of each piece to the line through the piece's `first` and `last` point.

    Where the two fall together the line has no direction, and the distance is to that point.
    """
    index = ranges(first + 1, inner)
    along_x, along_y = x[last] - x[first], y[last] - y[first]
    length = np.sqrt(along_x * along_x + along_y * along_y)
    closed = length == 0
    away_x = x[index] - np.repeat(x[first], inner)
    away_y = y[index] - np.repeat(y[first], inner)
    distance = np.abs(np.repeat(along_x, inner) * away_y - np.repeat(along_y, inner) * away_x)
    distance /= np.repeat(np.where(closed, 1.0, length), inner)
    if closed.any():
        round_trip = np.repeat(closed, inner)
        distance[round_trip] = np.hypot(away_x[round_trip], away_y[round_trip])
    return distance


def _rounded(ink: Ink) -> Ink:
    return Ink(np.rint(ink.points), ink.strokes, ink.drawings)

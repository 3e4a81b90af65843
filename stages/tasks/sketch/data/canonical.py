"""From parsed drawings to the form that is stored and learned from, and which of them have none.

A drawing with a coordinate that is not finite, with all points in one place, or with more points or a longer line than
the bounds allow is bad. A stroke of one point is a dot and stays, and negative coordinates are moved with the drawing;
these drawings are counted as repaired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .parse import BadDrawing, ParsedDrawings
from .simplify import MAX_LINE_LENGTH, canonical_steps, extents, line_lengths
from .strokes import SIDE, Strokes, starts

MAX_COORDINATE = 1e9  # pixels; far beyond any canvas, far below where squares overflow


@dataclass(frozen=True, slots=True)
class CanonicalDrawings:
    """The steps of the good drawings, the reasons of the bad ones. Numbers count the drawings as they came in."""

    good: np.ndarray  # (good,) int64: their numbers, ascending
    steps: np.ndarray  # (steps, 3) uint8: see `canonical_steps`
    lengths: np.ndarray  # (good,) int64: steps of each
    bad: Mapping[int, BadDrawing]
    repaired: Mapping[str, Sequence[int]]  # rule → numbers of the repaired drawings

    def sequences(self) -> list[np.ndarray]:
        """The steps of each good drawing, `(time, 3)`."""
        return np.split(self.steps, np.cumsum(self.lengths)[:-1]) if len(self.lengths) else []

    def in_order(self) -> list[np.ndarray | BadDrawing]:
        """The steps of each drawing `(time, 3)`, or what is wrong with it."""
        results = {**self.bad, **dict(zip(self.good.tolist(), self.sequences(), strict=True))}
        return [results[number] for number in sorted(results)]


def canonicalize(parsed: ParsedDrawings, *, max_points: int) -> CanonicalDrawings:
    """Check coordinates and bring drawings into canonical form; one with more than `max_points` steps there is bad."""
    strokes, numbers = parsed.strokes, parsed.numbers
    problems = _problems(strokes)
    bad = {**parsed.bad, **{int(numbers[place]): error for place, error in problems.items()}}
    if problems:
        good = np.setdiff1d(np.arange(len(strokes)), list(problems))
        strokes, numbers = strokes.take(good), numbers[good]
    drawing = np.repeat(np.arange(len(strokes)), strokes.strokes_per_drawing)
    lowest = extents(strokes.points, strokes.points_per_drawing)[0].min(axis=1)
    repaired = {
        **parsed.repaired,
        "negative_coordinates": numbers[lowest < 0].tolist(),
        "one_point_stroke": numbers[np.unique(drawing[strokes.points_per_stroke == 1])].tolist(),
    }
    steps, lengths = canonical_steps(strokes)
    short = lengths <= max_points
    for number, length in zip(numbers[~short].tolist(), lengths[~short].tolist(), strict=True):
        bad[number] = BadDrawing("too_many_points", f"{length} points after simplification; allowed: {max_points}")
    repaired = {rule: which for rule, which in repaired.items() if which}
    return CanonicalDrawings(numbers[short], steps[np.repeat(short, lengths)], lengths[short], bad, repaired)


def _problems(strokes: Strokes) -> dict[int, BadDrawing]:
    """The drawings that no box can be put round, that have no extent, or a line that goes on and on, by their place."""
    bad: dict[int, BadDrawing] = {}
    # NaN and infinity, where a drawing holds one, are its largest coordinate.
    largest = np.maximum.reduceat(np.abs(strokes.points), starts(strokes.points_per_drawing), axis=0).max(axis=1)
    _, side = extents(strokes.points, strokes.points_per_drawing)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        line = line_lengths(strokes.points, strokes.points_per_stroke, strokes.strokes_per_drawing) * (SIDE / side)
    for place in np.flatnonzero(~((largest <= MAX_COORDINATE) & (side > 0) & (line <= MAX_LINE_LENGTH))).tolist():
        if not np.isfinite(largest[place]):
            bad[place] = BadDrawing("not_finite", "a coordinate is NaN or infinite; allowed: finite numbers")
        elif largest[place] > MAX_COORDINATE:
            reason = f"a coordinate of {largest[place]:g}; allowed: up to {MAX_COORDINATE:g}"
            bad[place] = BadDrawing("coordinate_too_large", reason)
        elif side[place] == 0:
            bad[place] = BadDrawing("no_extent", "all points are in the same place; allowed: a drawing with an extent")
        else:
            reason = f"a line of {line[place]:.0f} pixels when scaled to {SIDE} pixels; allowed: {MAX_LINE_LENGTH}"
            bad[place] = BadDrawing("too_much_ink", reason)
    return bad

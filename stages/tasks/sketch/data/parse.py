"""Drawings from files and from callers of the registered model as Strokes, and what is wrong with the bad ones.

From here they go on through `canonical.py`. A drawing that is no list of strokes, a stroke that is not two or three
equally long lists of numbers, and a drawing with no points or too many are bad. A stroke without points is left out,
and points stay in their order where time runs backwards; these drawings are kept and counted as repaired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from .strokes import Strokes

MAX_INPUT_POINTS = 50_000  # of one drawing as it comes in; Quick, Draw!'s raw drawings have some hundred

# One drawing: its points `(points, 2)`, how many each stroke has, and the rules it was repaired by.
Parsed = tuple[np.ndarray, list[int], Sequence[str]]


class BadDrawing(ValueError):
    """A drawing that nothing can be made of; `rule` is the short name it is counted under."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class ParsedDrawings:
    """Drawings before their coordinates are checked. Numbers count the drawings as they came in."""

    strokes: Strokes  # of those that are not bad
    numbers: np.ndarray  # (drawings,) int64: the number of each drawing in `strokes`, ascending
    bad: Mapping[int, BadDrawing] = field(default_factory=dict)
    repaired: Mapping[str, Sequence[int]] = field(default_factory=dict)  # rule → numbers of the repaired drawings


def nested(drawing: object) -> Parsed:
    """Quick, Draw!'s `[[xs, ys], …]` or `[[xs, ys, ts], …]`. Raises BadDrawing."""
    return _simplified(drawing) or _general(drawing)


def stroke_3(array: np.ndarray) -> Parsed:
    """sketch-rnn's `(steps, 3)`: the way from the point before, and 1 where the pen leaves the paper.

    A drawing begins at (0, 0): the first step already leads to its second point. (sketch-rnn's `lines_to_strokes` drops
    the row of the first one.) Raises BadDrawing.
    """
    if array.ndim != 2 or array.shape[1] != 3:
        raise BadDrawing("malformed_drawing", f"an array of shape {array.shape}; allowed: (steps, 3)")
    if not len(array):
        raise BadDrawing("no_points", "a drawing without steps; allowed: at least one step")
    if len(array) >= MAX_INPUT_POINTS:
        raise BadDrawing("too_many_points", f"{len(array) + 1} points; allowed: {MAX_INPUT_POINTS}")
    pen_up = array[:, 2] == 1
    if not (pen_up | (array[:, 2] == 0)).all():
        raise BadDrawing("malformed_drawing", "a pen state that is neither 0 nor 1")
    points = np.zeros((len(array) + 1, 2))
    np.cumsum(array[:, :2], axis=0, out=points[1:])
    pen_up[-1] = True
    return points, np.diff(np.flatnonzero(pen_up) + 1, prepend=-1).tolist(), ()


def parse(drawings: Iterable[Any], form: Callable[[Any], Parsed] = nested) -> ParsedDrawings:
    """Drawings, all in one form, as Strokes. An item may be a BadDrawing: what came in its place could not be read.

    Each becomes an array at once, so that of what a generator gives no more than one item is in memory.
    """
    numbers: list[int] = []
    points: list[np.ndarray] = []
    points_per_stroke: list[int] = []
    strokes_per_drawing: list[int] = []
    bad: dict[int, BadDrawing] = {}
    repaired: dict[str, list[int]] = defaultdict(list)
    for number, drawing in enumerate(drawings):
        try:
            if isinstance(drawing, BadDrawing):
                raise drawing
            own_points, lengths, repairs = form(drawing)
        except BadDrawing as error:
            bad[number] = error
            continue
        numbers.append(number)
        points.append(own_points)
        points_per_stroke += lengths
        strokes_per_drawing.append(len(lengths))
        for rule in repairs:
            repaired[rule].append(number)
    whole = np.empty((sum(points_per_stroke), 2))
    if points:
        np.concatenate(points, out=whole)
    strokes = Strokes(whole, np.array(points_per_stroke, np.int64), np.array(strokes_per_drawing, np.int64))
    return ParsedDrawings(strokes, np.array(numbers, np.int64), bad, repaired)


def _simplified(drawing: object) -> Parsed | None:
    """What `_general` gives, in a third of its time, of whole numbers from 0 to 255 without times; None for others."""
    if type(drawing) is not list:
        return None
    try:
        xs, ys = zip(*drawing, strict=True)
        if {*map(type, xs), *map(type, ys)} != {list}:
            return None
        lengths = list(map(len, xs))
        values = bytes(chain.from_iterable(xs + ys))
    except (TypeError, ValueError):
        return None
    if 0 in lengths or lengths != list(map(len, ys)) or len(values) > 2 * MAX_INPUT_POINTS:
        return None
    return np.frombuffer(values, np.uint8).reshape(2, -1).T, lengths, ()


def _general(drawing: object) -> Parsed:
    if not isinstance(drawing, list):
        found = "no drawing" if drawing is None else type(drawing).__name__
        raise BadDrawing("malformed_drawing", f"found {found}; allowed: a list of strokes [[xs, ys], …]")
    for stroke in drawing:
        _check_stroke(stroke)
    lengths = [len(stroke[0]) for stroke in drawing]
    total = sum(lengths)
    if not total:
        raise BadDrawing("no_points", "a drawing without points; allowed: at least one stroke with points")
    if total > MAX_INPUT_POINTS:
        raise BadDrawing("too_many_points", f"{total} points; allowed: {MAX_INPUT_POINTS}")
    times = list(chain.from_iterable(stroke[2] for stroke in drawing if len(stroke) == 3))
    if len(times) not in (0, total):
        raise BadDrawing("malformed_drawing", "some strokes have times and some have none; allowed: all or none")
    points = np.empty((total, 2))
    for axis in (0, 1):
        points[:, axis] = _numbers(list(chain.from_iterable(stroke[axis] for stroke in drawing)))
    repairs = ["empty_stroke"] if 0 in lengths else []
    if (np.diff(_numbers(times)) < 0).any():
        repairs.append("time_backwards")
    return points, [length for length in lengths if length], repairs


def _check_stroke(stroke: object) -> None:
    if isinstance(stroke, list) and 2 <= len(stroke) <= 3:
        if all(isinstance(part, list) and len(part) == len(stroke[0]) for part in stroke):
            return
        if not any(isinstance(part, list) for part in stroke):
            raise BadDrawing(
                "malformed_drawing",
                "a stroke of plain values; allowed: [xs, ys]; a drawing with one stroke is [[xs, ys]]",
            )
        found = ", ".join(str(len(p)) if isinstance(p, list) else type(p).__name__ for p in stroke)
        reason = f"a stroke with parts of {found} values; allowed: two or three lists of equal length"
    else:
        found = f"{len(stroke)} lists" if isinstance(stroke, list) else type(stroke).__name__
        reason = f"a stroke that is {found}; allowed: two or three lists [xs, ys] or [xs, ys, ts]"
    raise BadDrawing("malformed_drawing", reason)


def _numbers(values: list[object]) -> np.ndarray:
    """`(values,)`. Raises BadDrawing where a value is not a number."""
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise BadDrawing("malformed_drawing", "a coordinate or a time is not a number")
    return array.astype(np.float64)

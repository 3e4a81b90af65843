"""Quick, Draw!'s nested lists, `[[xs, ys], …]` or `[[xs, ys, ts], …]`, as Ink; and what is wrong with the bad ones.

Files and callers of the registered model come through here alike. The rules:

- A drawing that is no list of strokes, or a stroke that is not two or three equally long lists of numbers, is bad.
- A drawing without points, with a coordinate that is not finite, with all points in one place, or with more points or a
  longer line than the bounds allow is bad.
- A stroke without points is left out; a stroke of one point is a dot and stays; negative coordinates are moved with the
  drawing; points stay in their order where time runs backwards. These drawings are kept and counted as repaired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from .ink import SIDE, Ink
from .simplify import MAX_LINE_LENGTH, canonical, extents, line_lengths

MAX_INPUT_POINTS = 50_000  # of one drawing as it comes in; Quick, Draw!'s raw drawings have some hundred
MAX_COORDINATE = 1e9  # pixels; far beyond any canvas, far below where squares overflow


class BadDrawing(ValueError):
    """A drawing that nothing can be made of; `rule` is the short name it is counted under."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Readings:
    """What came of a number of drawings: the steps of the good ones, the reasons of the bad ones."""

    good: np.ndarray  # (good,) int64: their numbers
    steps: np.ndarray  # (steps, 3) uint8: see `strokes.canonical`
    lengths: np.ndarray  # (good,) int64: steps of each
    bad: Mapping[int, BadDrawing] = field(default_factory=dict)
    repaired: Mapping[str, frozenset[int]] = field(default_factory=dict)  # rule → numbers of the mended drawings

    def sequences(self) -> list[np.ndarray]:
        """The steps of each good drawing, `(time, 3)`."""
        return np.split(self.steps, np.cumsum(self.lengths)[:-1]) if len(self.lengths) else []


@dataclass(frozen=True, slots=True)
class Collected:
    """Drawings as Ink, before their coordinates are looked at; numbers count the drawings as they came in."""

    ink: Ink | None  # None where no drawing is left
    numbers: np.ndarray  # int64: the number of each of the Ink's drawings
    bad: Mapping[int, BadDrawing] = field(default_factory=dict)
    repaired: Mapping[str, np.ndarray] = field(default_factory=dict)  # rule → numbers of the drawings that were mended


def collect(drawings: Sequence[object]) -> Collected:
    """Nested lists as Ink, the bad ones apart."""
    collector = Collector()
    for drawing in drawings:
        try:
            collector.add(drawing)
        except BadDrawing as error:
            collector.refuse(error)
    return collector.collected()


def canonical_readings(collected: Collected, *, max_points: int) -> Readings:
    """Check coordinates and bring drawings into canonical form; one with more than `max_points` steps there is bad."""
    ink, numbers, reasons = collected.ink, collected.numbers, dict(collected.bad)
    repaired = dict(collected.repaired)
    if ink is not None:
        ink, numbers = _without(ink, numbers, _impossible(ink), reasons)
    if ink is not None:
        repaired["negative_coordinates"] = numbers[extents(ink)[0].min(axis=1) < 0]
        drawing = np.repeat(np.arange(len(ink)), ink.drawings)
        repaired["one_point_stroke"] = numbers[np.unique(drawing[ink.strokes == 1])]
        ink, numbers = _without(ink, numbers, _unending(ink), reasons)
    if ink is None:
        return Readings(numbers, np.empty((0, 3), np.uint8), np.empty(0, np.int64), reasons)
    steps, lengths = canonical(ink)
    short = lengths <= max_points
    for number, length in zip(numbers[~short].tolist(), lengths[~short].tolist(), strict=True):
        reasons[number] = BadDrawing("too_many_points", f"{length} points after simplification; allowed: {max_points}")
    good = numbers[short]
    mended = {rule: frozenset(which.tolist()) for rule, which in sorted(repaired.items()) if len(which)}
    return Readings(good, steps[np.repeat(short, lengths)], lengths[short], reasons, mended)


class Collector:
    """Takes nested lists one by one and makes Ink of them.

    The points of all drawings are poured into one list at once, so that no nested list outlives its turn, and checked
    together; only where one of them is not a number is each drawing looked at by itself.
    """

    def __init__(self) -> None:
        self._x: list[object] = []
        self._y: list[object] = []
        self._times: list[object] = []
        self._strokes: list[int] = []
        self._drawings: list[int] = []
        self._numbers: list[int] = []
        self._timed: list[tuple[int, int]] = []  # (number of a drawing with times, its points)
        self._with_empty: list[int] = []
        self._bad: dict[int, BadDrawing] = {}

    def refuse(self, error: BadDrawing) -> None:
        """Note that there is nothing to be made of the next drawing."""
        self._bad[len(self._numbers) + len(self._bad)] = error

    def add(self, drawing: object) -> None:
        """Append the next drawing. Raises BadDrawing, with nothing appended, where its lists do not fit."""
        xs, ys, times = _parts(drawing)
        counts = list(map(len, xs))
        total = sum(counts)
        if not total:
            raise BadDrawing("no_points", "a drawing without points; allowed is at least one stroke with points")
        if total > MAX_INPUT_POINTS:
            raise BadDrawing("too_many_points", f"{total} points; allowed: {MAX_INPUT_POINTS}")
        timed = sum(map(len, times))
        if timed not in (0, total):
            raise BadDrawing("malformed_drawing", "some strokes have times and some have none")
        number = len(self._numbers) + len(self._bad)
        if timed:
            self._timed.append((number, total))
            self._times += chain.from_iterable(times)
        if 0 in counts:
            self._with_empty.append(number)
            counts = [count for count in counts if count]
        self._x += chain.from_iterable(xs)
        self._y += chain.from_iterable(ys)
        self._strokes += counts
        self._drawings.append(len(counts))
        self._numbers.append(number)

    def collected(self) -> Collected:
        """What was added, as Ink."""
        if not self._numbers:
            return Collected(None, np.empty(0, np.int64), self._bad)
        x, y, times = (_numbers(values) for values in (self._x, self._y, self._times))
        if x is None or y is None or times is None:
            return self._checked_one_by_one().collected()
        ink = Ink(np.stack([x, y], axis=1), np.array(self._strokes, np.int64), np.array(self._drawings, np.int64))
        repaired = {
            "empty_stroke": np.array(self._with_empty, np.int64),
            "time_backwards": _backwards(times, self._timed),
        }
        return Collected(ink, np.array(self._numbers, dtype=np.int64), self._bad, repaired)

    def _checked_one_by_one(self) -> Collector:
        """The same drawings, without those in which a coordinate or a time is not a number."""
        other = Collector()
        timed = dict(self._timed)
        drawings = zip(self._numbers, self._drawings, strict=True)
        strokes, x, y, times = iter(self._strokes), iter(self._x), iter(self._y), iter(self._times)
        for number in range(len(self._numbers) + len(self._bad)):
            if number in self._bad:
                other.refuse(self._bad[number])
                continue
            drawing: list[list[list[object]]] = [[[], []]] if number in self._with_empty else []
            for count in islice(strokes, next(drawings)[1]):
                parts = (x, y, times) if number in timed else (x, y)
                drawing.append([list(islice(part, count)) for part in parts])
            if all(_numbers(part) is not None for stroke in drawing for part in stroke):
                other.add(drawing)
            else:
                other.refuse(BadDrawing("malformed_drawing", "a coordinate or a time is not a number"))
        return other


def _parts(drawing: object) -> tuple[list[list[object]], list[list[object]], list[list[object]]]:
    """The strokes' xs, ys and, of those that have them, times. Raises BadDrawing where a stroke is none."""
    if type(drawing) is list and set(map(type, drawing)) == {list} and set(map(len, drawing)) == {2}:
        # Nearly all are of this kind, and a step of Python for each stroke would cost as much as to parse it.
        parts = list(chain.from_iterable(drawing))
        xs, ys = parts[::2], parts[1::2]
        if set(map(type, parts)) == {list} and list(map(len, xs)) == list(map(len, ys)):
            return xs, ys, []
    if not isinstance(drawing, list):
        found = "no drawing" if drawing is None else type(drawing).__name__
        raise BadDrawing("malformed_drawing", f"found {found}; allowed is a list of strokes [[xs, ys], …]")
    for stroke in drawing:
        _check_stroke(stroke)
    return (
        [stroke[0] for stroke in drawing],
        [stroke[1] for stroke in drawing],
        [stroke[2] for stroke in drawing if len(stroke) == 3],
    )


def _check_stroke(stroke: object) -> None:
    if isinstance(stroke, list) and 2 <= len(stroke) <= 3:
        xs, ys, ts = stroke[0], stroke[1], stroke[-1]
        if isinstance(xs, list) and isinstance(ys, list) and isinstance(ts, list) and len(xs) == len(ys) == len(ts):
            return
        if not any(isinstance(part, list) for part in stroke):
            raise BadDrawing(
                "malformed_drawing", "a stroke of plain values; allowed is [xs, ys], so a lone one is [[xs, ys]]"
            )
        found = ", ".join(str(len(p)) if isinstance(p, list) else type(p).__name__ for p in stroke)
        reason = f"a stroke with parts of {found} values; allowed are two or three equally long lists"
    else:
        found = f"{len(stroke)} lists" if isinstance(stroke, list) else type(stroke).__name__
        reason = f"a stroke that is {found}; allowed are two or three lists [xs, ys] or [xs, ys, ts]"
    raise BadDrawing("malformed_drawing", reason)


def _numbers(values: list[object]) -> np.ndarray | None:
    """A list as `(values,)` float64, or None where it holds anything but numbers."""
    try:
        # Simplified coordinates are bytes, and Python makes bytes of a list in a quarter of the time.
        return np.frombuffer(bytes(values), np.uint8).astype(np.float64)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return None
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        return None
    return array.astype(np.float64)


def _backwards(times: np.ndarray, timed: list[tuple[int, int]]) -> np.ndarray:
    """The numbers of the drawings in which a point is earlier than the point before it."""
    counts = np.array([count for _, count in timed], dtype=np.int64)
    drawing = np.repeat(np.arange(len(counts)), counts)
    earlier = (np.diff(times) < 0) & (np.diff(drawing) == 0)
    return np.array([number for number, _ in timed], dtype=np.int64)[np.unique(drawing[1:][earlier])]


def _impossible(ink: Ink) -> dict[int, BadDrawing]:
    """Drawings whose points no box can be put round."""
    bad: dict[int, BadDrawing] = {}
    lengths = ink.lengths
    starts = np.cumsum(lengths) - lengths
    usable = np.logical_and.reduceat((np.abs(ink.points) <= MAX_COORDINATE).all(axis=1), starts)
    for index in np.flatnonzero(~usable).tolist():
        points = ink.points[starts[index] : starts[index] + lengths[index]]
        if np.isfinite(points).all():
            reason = f"a coordinate of {np.abs(points).max():g}; allowed: up to {MAX_COORDINATE:g}"
            bad[index] = BadDrawing("coordinate_too_large", reason)
        else:
            bad[index] = BadDrawing("not_finite", "a coordinate is NaN or infinite; allowed are finite numbers")
    return bad


def _unending(ink: Ink) -> dict[int, BadDrawing]:
    """Drawings without an extent, or with a line that goes on and on."""
    bad: dict[int, BadDrawing] = {}
    side = extents(ink)[1]
    for index in np.flatnonzero(side == 0).tolist():
        bad[index] = BadDrawing("no_extent", "all points lie in one place; allowed is a drawing with an extent")
    line = line_lengths(ink) * (SIDE / np.where(side > 0, side, SIDE))
    for index in np.flatnonzero(line > MAX_LINE_LENGTH).tolist():
        reason = f"a line of {line[index]:.0f} pixels at a side of {SIDE}; allowed: {MAX_LINE_LENGTH}"
        bad[index] = BadDrawing("too_much_ink", reason)
    return bad


def _without(
    ink: Ink, numbers: np.ndarray, bad: Mapping[int, BadDrawing], reasons: dict[int, BadDrawing]
) -> tuple[Ink | None, np.ndarray]:
    """The drawings that are not bad, None where there is none; the reasons of the bad ones go to `reasons`."""
    if not bad:
        return ink, numbers
    reasons.update((int(numbers[index]), error) for index, error in bad.items())
    good = np.setdiff1d(np.arange(len(ink)), list(bad))
    return (ink.take(good) if len(good) else None), numbers[good]

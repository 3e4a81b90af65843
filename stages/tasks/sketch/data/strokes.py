"""Strokes laid flat: the points of many drawings in one array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 255  # pixels of the longer side, as in Google's simplified form


@dataclass(frozen=True, slots=True)
class Strokes:
    """The strokes of any number of drawings. No stroke is without points, no drawing without strokes."""

    points: np.ndarray  # (points, 2) float64: x to the right, y downwards
    points_per_stroke: np.ndarray  # (strokes,) int64
    strokes_per_drawing: np.ndarray  # (drawings,) int64

    def __len__(self) -> int:
        return len(self.strokes_per_drawing)

    @property
    def points_per_drawing(self) -> np.ndarray:
        """`(drawings,)` int64."""
        return np.add.reduceat(self.points_per_stroke, starts(self.strokes_per_drawing))

    def take(self, drawings: np.ndarray) -> Strokes:
        """Some drawings, in the order of their numbers."""
        strokes = ranges(starts(self.strokes_per_drawing)[drawings], self.strokes_per_drawing[drawings])
        points = ranges(starts(self.points_per_stroke)[strokes], self.points_per_stroke[strokes])
        return Strokes(self.points[points], self.points_per_stroke[strokes], self.strokes_per_drawing[drawings])

    def nested(self) -> list[list[list[list[float]]]]:
        """Each drawing as Quick, Draw!'s `[[xs, ys], …]`."""
        strokes = [stroke.T.tolist() for stroke in np.split(self.points, np.cumsum(self.points_per_stroke)[:-1])]
        firsts = starts(self.strokes_per_drawing)
        return [strokes[a : a + n] for a, n in zip(firsts, self.strokes_per_drawing, strict=True)]


def strokes_of(steps: np.ndarray) -> list[np.ndarray]:
    """The strokes of one drawing, each `(points, 2)` of x and y; `steps` is `(time, 3)`, its third column 1 where the
    pen is lifted after the point. What follows the last lift is a stroke as well: a drawing may be broken off.
    """
    return np.split(steps[:, :2], np.flatnonzero(steps[:-1, 2]) + 1)


def starts(lengths: np.ndarray) -> np.ndarray:
    """Where each of some sequences begins that lie one after the other."""
    return np.cumsum(lengths) - lengths


def ranges(firsts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`[first, first + 1, …]`, `length` numbers of each, one after the other."""
    return np.repeat(firsts - starts(lengths), lengths) + np.arange(int(lengths.sum()))

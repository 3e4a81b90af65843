"""Drawings laid flat: the points of many drawings in one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIDE = 255  # pixels of the longer side, as in Google's simplified form


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

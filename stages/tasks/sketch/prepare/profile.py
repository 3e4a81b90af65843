"""What drawings look like: points, strokes, shape and ink of each, and of labelled ones the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....data.evenly import evenly
from ....data.prepared import open_prepared
from ....preprocessing.profile import MOST_EXAMPLES, Categories, Known, Numbers, Observed
from ..data.strokes import starts


def learned(prepared: Path) -> Observed:
    """The training drawings of the prepared data."""
    store, description = open_prepared(prepared)
    return current(prepared, store.rows("train"), Known(description, prepared))


def current(prepared: Path, rows: np.ndarray, known: Known) -> Observed:
    """Some rows of the prepared data, ascending."""
    store, _ = open_prepared(prepared)
    rows = rows[evenly(len(rows), MOST_EXAMPLES)]
    names, codes = np.unique(list(store.values("label", rows)), return_inverse=True)
    groups = None
    if "group" in store.columns:  # one without is its own
        named = [group or f"\0{row}" for row, group in zip(rows, store.values("group", rows), strict=True)]
        groups = np.unique(named, return_inverse=True)[1]
    steps = [store.sequence("values", row) for row in rows]
    features = shape_features(steps)
    return Observed(
        examples=len(rows), features={**features, "class": Categories(codes, names.tolist())}, groups=groups
    )


def shape_features(drawings: list[np.ndarray]) -> dict[str, Numbers]:
    """Of canonical drawings, each `(time, 3)`: what one sees without knowing what they show."""
    if not drawings:
        return {name: Numbers(np.zeros(0)) for name in ("points", "strokes", "width", "height", "ink")}
    lengths = np.array([len(steps) for steps in drawings])
    first = starts(lengths)
    steps = np.concatenate(drawings).astype(np.int32)
    lowest, highest = (function.reduceat(steps[:, :2], first) for function in (np.minimum, np.maximum))
    width, height = (highest - lowest).T
    moves = np.hypot(*np.diff(steps[:, :2], axis=0, prepend=0).T)
    moves[first] = 0.0  # from the drawing before
    moves[1:][steps[:-1, 2] > 0] = 0.0  # with the pen in the air
    return {
        "points": Numbers(lengths.astype(np.float64)),
        "strokes": Numbers(np.add.reduceat(steps[:, 2] > 0, first, dtype=np.float64)),
        "width": Numbers(width.astype(np.float64)),
        "height": Numbers(height.astype(np.float64)),
        "ink": Numbers(np.rint(np.add.reduceat(moves, first))),
    }

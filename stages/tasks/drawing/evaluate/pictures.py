"""What the network draws, beside what people drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...sketch.data.strokes import strokes_of

EACH = 3  # drawings of a class in a group
MOST_CLASSES = 24
_MARGIN = 0.06


def samples_figure(groups: Mapping[str, Sequence[Sequence[np.ndarray]]], classes: Sequence[str]) -> Figure:
    """A row a class, a group of columns for each title; `groups` holds EACH drawings `(points, 3)` of every class."""
    columns = EACH * len(groups)
    figure = Figure(figsize=(1.0 * columns + 0.8, 1.05 * len(classes) + 0.7), layout="constrained")
    grid = figure.subplots(len(classes), columns, squeeze=False)
    for group, (title, drawings) in enumerate(groups.items()):
        grid[0, EACH * group + EACH // 2].set_title(title, fontsize=10)
        for row, some in enumerate(drawings):
            for place in range(EACH):
                axes = grid[row, EACH * group + place]
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_color("0.9")
                if place < len(some):
                    _draw(axes, some[place])
    for row, name in enumerate(classes):
        grid[row, 0].set_ylabel(name, fontsize=9)
    return figure


def _draw(axes: Axes, drawing: np.ndarray) -> None:
    points = drawing[:, :2].astype(float)
    for stroke in strokes_of(drawing):
        axes.plot(stroke[:, 0], stroke[:, 1], color="#1a365d", linewidth=1.1, marker="." if len(stroke) == 1 else None)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    half = max(float(np.ptp(points, axis=0).max()), 1.0) * (0.5 + _MARGIN)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] + half, middle[1] - half)
    axes.set_aspect("equal")

"""Drawings as pictures, each with what it is and what it was taken for."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data.strokes import SIDE, strokes_of
from ..model.network import SketchDataset

_COLUMNS = 6
_MARGIN = 12  # pixels round a drawing


def drawings_figure(drawings: SketchDataset, examples: np.ndarray, probabilities: np.ndarray, title: str) -> Figure:
    """A grid of drawings, strokes from dark to light in drawing order; `probabilities` is `(all drawings, classes)`."""
    rows = max(1, math.ceil(len(examples) / _COLUMNS))
    figure = Figure(figsize=(1.9 * _COLUMNS, 2.1 * rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for place, example in enumerate(examples.tolist()):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        draw(axes, drawings.steps(np.array([example]))[0])
        actual, predicted = int(drawings.targets[example]), int(probabilities[example].argmax())
        name = drawings.classes[predicted]
        title = name if actual == predicted else f"{drawings.classes[actual]}, taken for\n{name}"
        colour = "black" if actual == predicted else "firebrick"
        axes.set_title(f"{title}, {probabilities[example, predicted]:.0%}", fontsize=9, color=colour)
    return figure


def draw(axes: Axes, steps: np.ndarray) -> None:
    """The strokes of one drawing, `(steps, 3)`."""
    strokes = strokes_of(steps)
    for number, stroke in enumerate(strokes):
        shade = 0.05 + 0.6 * number / max(1, len(strokes) - 1)
        marker = "." if len(stroke) == 1 else None
        colour = (shade * 0.5, shade * 0.7, 0.3 + shade * 0.7)
        axes.plot(stroke[:, 0], stroke[:, 1], color=colour, linewidth=1.4, marker=marker)
    middle = (steps[:, :2].min(axis=0).astype(float) + steps[:, :2].max(axis=0)) / 2
    half = SIDE / 2 + _MARGIN
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] + half, middle[1] - half)
    axes.set_aspect("equal")
    axes.axis("off")

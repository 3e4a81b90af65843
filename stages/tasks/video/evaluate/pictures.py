"""Clips as strips of frames, with the network's answers to their prefixes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..model.clips import ClipDataset
from .prefixes import PrefixProbabilities

_CLIPS_PER_ROW = 2  # clips beside each other
_STRIP = 8  # frames of a clip in the picture
_BETWEEN = 1  # pixels between two frames
_OTHERS = 3  # classes that are drawn beside the clip's own and the answer
_INCH = 0.62  # inches of a frame's side, the unit of these:
_NAME, _GAP, _CURVE = 0.6, 0.15, 0.8  # heights of the answer above a strip, of what lies below the strip, of the curves
_TALL = _NAME + 1 + _GAP + _CURVE + 0.15  # of all that belongs to a clip
_APART = 0.7  # between two clips beside each other
_RIGHT, _WRONG, _OTHER = "tab:green", "tab:red", "silver"


def interleave_classes(clips: ClipDataset, *, seed: int) -> np.ndarray:
    """All clips, one of each class in turn, shuffled within a class: `(clips,)`."""
    turn = np.empty(len(clips), dtype=np.int64)
    generator = np.random.Generator(np.random.Philox(key=[seed, 1]))
    for label in np.unique(clips.labels):
        same = np.flatnonzero(clips.labels == label)
        turn[same] = generator.permutation(len(same))
    return np.lexsort((clips.labels, turn))


def draw_clips(
    clips: ClipDataset,
    examples: np.ndarray,
    probabilities: np.ndarray,
    prefixes: Sequence[PrefixProbabilities],
    title: str,
) -> Figure:
    """Clips as strips of frames, below each the probabilities of the classes as the clip went on; above it the
    class as predicted by `probabilities` `(clips, classes)`, and as it is where that differs.
    """
    columns = min(_CLIPS_PER_ROW, len(examples))
    rows = -(-len(examples) // columns)
    width, height = columns * (_STRIP + _APART) - _APART, rows * _TALL
    figure = Figure(figsize=(_INCH * width + 0.3, _INCH * height + 0.7), layout="constrained")
    # All in one panel, whose unit is the side of a frame: panels for themselves take seconds to lay out.
    axes = figure.add_subplot(xlim=(-0.3, width), ylim=(height, -_NAME), aspect="equal")
    for place, (example, answers) in enumerate(zip(examples, prefixes, strict=True)):
        row, column = divmod(place, columns)
        left, top = column * (_STRIP + _APART), row * _TALL
        axes.imshow(
            _strip(clips.clip(example)), cmap="gray", vmin=0, vmax=255, extent=(left, left + _STRIP, top + 1, top)
        )
        right, predicted = int(clips.labels[example]), int(probabilities[example].argmax())
        answer = f"{clips.classes[predicted]} {probabilities[example].max():.2f}"
        axes.text(
            left,
            top - 0.1,
            answer if predicted == right else f"{answer}, is {clips.classes[right]}",
            color=_RIGHT if predicted == right else _WRONG,
            fontsize=9,
            va="bottom",
        )
        _draw_probabilities(axes, answers, left=left, bottom=top + 1 + _GAP + _CURVE, right=right, predicted=predicted)
    kinds = {"its class": _RIGHT, "the answer, where wrong": _WRONG, "likeliest other classes": _OTHER}
    lines = [Line2D([], [], color=color, label=label) for label, color in kinds.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8, frameon=False)
    axes.set_title(f"{title}\nBelow each frame: probabilities, 0 to 1, given the clip up to it", fontsize=11)
    axes.set_axis_off()
    return figure


def _strip(clip: np.ndarray) -> np.ndarray:
    """Some frames of `(time, height, width, channels)` beside each other: `(height, width)`, with colours
    `(height, width, 3)`.
    """
    shown = clip[np.linspace(0, len(clip) - 1, _STRIP).round().astype(int)]
    framed = np.pad(shown, ((0, 0), (0, 0), (0, _BETWEEN), (0, 0)), constant_values=255)
    row = np.concatenate(list(framed), axis=1)
    return row.squeeze(-1) if row.shape[-1] == 1 else row


def _draw_probabilities(
    axes: Axes, answers: PrefixProbabilities, *, left: float, bottom: float, right: int, predicted: int
) -> None:
    """Lines `_CURVE` high over the width of a strip, each answer below the frame that was the last to be seen."""
    first, last = answers.lengths[0], answers.lengths[-1]
    # The first frame shown is the clip's first, the last its last, and each is a unit wide.
    across = left + 0.5 + (answers.lengths - first) / max(last - first, 1) * (_STRIP - 1)
    for level in (0, 1):
        axes.plot((left, left + _STRIP), (bottom - level * _CURVE,) * 2, color="gainsboro", linewidth=0.6)
        axes.text(left - 0.05, bottom - level * _CURVE, str(level), fontsize=6, color="gray", ha="right", va="center")
    likeliest = np.argsort(-answers.probabilities.max(axis=0), kind="stable")
    others = [label for label in likeliest.tolist() if label not in (right, predicted)][:_OTHERS]
    lines = [(label, _OTHER, 0.8) for label in others] + [(right, _RIGHT, 1.5)]
    lines += [(predicted, _WRONG, 1.5)] if predicted != right else []
    for label, color, thickness in lines:
        heights = bottom - answers.probabilities[:, label] * _CURVE
        axes.plot(across, heights, color=color, linewidth=thickness, solid_joinstyle="round")

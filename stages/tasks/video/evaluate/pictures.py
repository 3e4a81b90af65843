"""Clips as strips of frames."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ..model.clips import ClipDataset

_STRIP = 8  # frames of a clip in the picture
_GAP = 2  # pixels between frames


def in_turn(clips: ClipDataset, *, seed: int) -> np.ndarray:
    """All clips, one of each class in turn, at random within a class: `(clips,)`."""
    turn = np.empty(len(clips), dtype=np.int64)
    generator = np.random.Generator(np.random.Philox(key=[seed, 1]))
    for label in np.unique(clips.labels):
        same = np.flatnonzero(clips.labels == label)
        turn[same] = generator.permutation(len(same))
    return np.lexsort((clips.labels, turn))


def strips(clips: ClipDataset, examples: np.ndarray, probabilities: np.ndarray, title: str) -> Figure:
    """Clips as strips of frames with their class as predicted, and as it is where that differs."""
    predicted = probabilities.argmax(axis=1)
    right = predicted == clips.labels
    rows = []
    for example in examples:
        clip = clips.clip(example)
        shown = clip[np.linspace(0, len(clip) - 1, _STRIP).round().astype(int)]
        framed = np.pad(shown, ((0, 0), (_GAP, 0), (_GAP, 0), (0, 0)), constant_values=255)
        rows.append(np.concatenate(list(framed), axis=1))
    # One picture in one panel: a panel for each frame takes seconds to draw.
    whole = np.concatenate(rows)
    height = len(whole) / len(rows)
    figure = Figure(figsize=(_STRIP + 2.6, 1.05 * len(rows) + 0.4), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(whole.squeeze(-1) if whole.shape[-1] == 1 else whole, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])
    names = []
    for example in examples:
        answer = f"{clips.classes[predicted[example]]} {probabilities[example].max():.2f}"
        names.append(answer if right[example] else f"{answer}\nis {clips.classes[clips.labels[example]]}")
    axes.set_yticks((np.arange(len(rows)) + 0.5) * height, names, fontsize=8)
    for label, example in zip(axes.get_yticklabels(), examples, strict=True):
        label.set_color("tab:green" if right[example] else "tab:red")
    axes.tick_params(length=0)
    axes.set_anchor("E")  # the space that is left over belongs to the names
    axes.spines[:].set_visible(False)
    return figure

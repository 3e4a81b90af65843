"""Clips as strips of frames."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ..model.clips import ClipDataset
from ..params import EvaluateParams

_STRIP = 8  # frames of a clip in the picture


def strips(clips: ClipDataset, probabilities: np.ndarray, params: EvaluateParams) -> Figure:
    """Random clips as strips of frames with their class as predicted, and as it is where that differs.

    Wrong ones come first, then one of each class in turn.
    """
    predicted = probabilities.argmax(axis=1)
    right = predicted == clips.labels
    turn = np.empty(len(clips), dtype=np.int64)
    generator = np.random.Generator(np.random.Philox(key=[params.seed, 1]))
    for label in np.unique(clips.labels):
        same = np.flatnonzero(clips.labels == label)
        turn[same] = generator.permutation(len(same))
    chosen = np.lexsort((clips.labels, turn, right))[: params.pictures]
    figure = Figure(figsize=(_STRIP + 2.6, 1.05 * len(chosen)), layout="constrained")
    grid = figure.subplots(len(chosen), _STRIP, squeeze=False)
    for row, example in zip(grid, chosen, strict=True):
        clip = clips.clip(example)
        shown = np.linspace(0, len(clip) - 1, _STRIP).round().astype(int)
        for axes, frame in zip(row, clip[shown], strict=True):
            axes.imshow(frame.squeeze(-1) if frame.shape[-1] == 1 else frame, cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
        answer = f"{clips.classes[predicted[example]]} {probabilities[example].max():.2f}"
        text = answer if right[example] else f"{answer}\nis {clips.classes[clips.labels[example]]}"
        colour = "tab:green" if right[example] else "tab:red"
        row[0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8, color=colour)
    return figure

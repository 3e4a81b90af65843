"""Random changes of clips, the same in all frames of a clip: what moves in it still moves as it did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....batching import uniform
from ..params import AugmentationParams


def augmented(
    clips: Sequence[np.ndarray], params: AugmentationParams, examples: np.ndarray, *, seed: int, epoch: int
) -> list[np.ndarray]:
    """Changed clips of `(time, height, width, channels)` uint8, drawn by (seed, epoch, example) alone."""
    draws = uniform(seed, epoch, examples, 5)
    return [_changed(clip, params, draw) for clip, draw in zip(clips, draws, strict=True)]


def _changed(clip: np.ndarray, params: AugmentationParams, draw: np.ndarray) -> np.ndarray:
    height, width = clip.shape[1:3]
    rows = _moved(height, params.shift, draw[0])
    columns = _moved(width, params.shift, draw[1])
    if params.flip and draw[2] < 0.5:
        columns = columns[::-1]
    contrast, brightness = 1 + params.brightness * (2 * draw[3:5] - 1)
    levels = (np.arange(256) - 127.5) * contrast + 127.5 * brightness
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return table[clip[:, rows[:, None], columns]]


def _moved(side: int, share: float, draw: float) -> np.ndarray:
    """Where each pixel along a side is taken from, after a move by up to `share` of it; the border is repeated."""
    return np.clip(np.arange(side) + round((2 * draw - 1) * share * side), 0, side - 1)

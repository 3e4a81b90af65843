"""Drawings changed in ways that leave their meaning: turned, stretched, slanted, shaken, mirrored, with strokes gone.

All changes of a drawing are a function of (seed, epoch, example), so that it changes in the same way in whatever batch
or process it comes; all drawings of a batch are changed together.
"""

from __future__ import annotations

import numpy as np

from ...batching import uniform
from .params import AugmentationParams
from .strokes import SIDE

# The columns of random numbers: five for the whole drawing, then one for each of the first strokes, then two a point.
_WHOLE = 5
_STROKES = 64  # the strokes after these take the same draws again


def augment(
    steps: np.ndarray, lengths: np.ndarray, params: AugmentationParams, *, seed: int, epoch: int, examples: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Changed steps `(steps, 3)` float32, and the steps of each drawing, fewer where strokes were dropped.

    `steps` holds x, y (pixels) and pen_up of all drawings, one after the other. A drawing keeps at least one stroke.
    """
    draws = uniform(seed, epoch, examples, _WHOLE + _STROKES + 2 * int(lengths.max())).astype(np.float32)
    steps = steps.astype(np.float32)
    drawing = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(steps)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    column = _WHOLE + _STROKES + 2 * within
    shaken = np.stack([draws[drawing, column], draws[drawing, column + 1]], axis=1)
    points = steps[:, :2] + params.jitter * np.float32(np.sqrt(12)) * (shaken - 0.5)
    matrices = _matrices(draws[:, :_WHOLE], params)
    steps[:, :2] = np.einsum("pi,pij->pj", points - SIDE / 2, matrices[drawing])
    if not params.drop_strokes:
        return steps, lengths
    kept = _kept(steps[:, 2], lengths, drawing, draws[:, _WHOLE : _WHOLE + _STROKES] >= params.drop_strokes)
    return steps[kept], np.bincount(drawing[kept], minlength=len(lengths))


def _matrices(draws: np.ndarray, params: AugmentationParams) -> np.ndarray:
    """`(drawings, 2, 2)`: slant, stretch and mirror, then turn; for row vectors."""
    angle = np.deg2rad(params.rotation) * (2 * draws[:, 0] - 1)
    stretch = np.exp(params.scale * (2 * draws[:, 1:3] - 1))
    slant = params.shear * (2 * draws[:, 3] - 1)
    side = np.where(draws[:, 4] < params.mirror, -1.0, 1.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    first = np.zeros((len(draws), 2, 2), dtype=np.float32)
    first[:, 0, 0] = side * stretch[:, 0]
    first[:, 1, 0] = slant
    first[:, 1, 1] = stretch[:, 1]
    turn = np.stack([np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)], axis=1).astype(np.float32)
    return first @ turn


def _kept(pen_up: np.ndarray, lengths: np.ndarray, drawing: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """`(steps,)` bool: the steps of the strokes that stay; all of them where no stroke would."""
    stroke = np.cumsum(pen_up).astype(np.int64) - pen_up.astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    stroke -= np.repeat(stroke[starts], lengths)
    kept = wanted[drawing, stroke % wanted.shape[1]]
    none = ~np.logical_or.reduceat(kept, starts)
    return kept | none[drawing]

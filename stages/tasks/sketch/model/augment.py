"""Drawings changed in ways that leave their meaning: another shape, another pen.

The whole drawing is turned, stretched, slanted and mirrored, and its points are shaken; points and strokes are left
out, strokes drawn from the other end or in another order; a drawing is broken off before its end. All changes of a
drawing are a function of (seed, epoch, example), so that it changes in the same way in whatever batch or process it
comes; all drawings of a batch are changed together.
"""

from __future__ import annotations

import numpy as np

from ....models.counter_rng import uniform
from ..data.strokes import SIDE, ranges
from ..params import AugmentationParams

# The columns of random numbers: some for the whole drawing, then some for each of its first strokes, then some a point.
_WHOLE = 8
_A_STROKE = 3
_A_POINT = 3
_LEAST_SEEN = 0.2  # of the points of a drawing that is broken off
_STROKES = 64  # the strokes after these take the same draws again


def augment(
    steps: np.ndarray,
    lengths: np.ndarray,
    params: AugmentationParams,
    *,
    mirrored: np.ndarray,
    seed: int,
    epoch: int,
    examples: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Changed steps `(steps, 3)` float32, and the steps of each drawing, fewer where some were left out.

    `steps` holds x, y (pixels) and pen_up of all drawings, one after the other. A drawing keeps at least one stroke,
    and a stroke its ends. `mirrored` says which drawings may be mirrored, `(drawings,)`.
    """
    first_of_points = _WHOLE + _A_STROKE * _STROKES
    draws = uniform(seed, epoch, examples, first_of_points + _A_POINT * int(lengths.max())).astype(np.float32)
    drawing = np.repeat(np.arange(len(lengths)), lengths)
    place = ranges(np.zeros_like(lengths), lengths)
    column = first_of_points + _A_POINT * place
    shaken = np.stack([draws[drawing, column], draws[drawing, column + 1]], axis=1) - 0.5
    seen = _seen(draws, lengths, params)[drawing]
    pen_up = (steps[:, 2] > 0) | (place == seen - 1)
    stays = (draws[drawing, column + 2] >= params.drop_points) | pen_up
    stays[1:] |= pen_up[:-1]
    stays[0] = True
    stays &= place < seen
    points = steps[:, :2] + params.jitter * np.float32(np.sqrt(12)) * shaken
    changed = np.empty(steps.shape, dtype=np.float32)
    changed[:, :2] = np.einsum("pi,pij->pj", points - SIDE / 2, _matrices(draws, params, mirrored)[drawing])
    changed[:, 2] = pen_up
    of_strokes = draws[:, _WHOLE:first_of_points].reshape(len(draws), _STROKES, _A_STROKE)
    shuffled = draws[:, 5] < params.shuffle_strokes
    return _redrawn(changed[stays], drawing[stays], shuffled, of_strokes, params)


def _seen(draws: np.ndarray, lengths: np.ndarray, params: AugmentationParams) -> np.ndarray:
    """How many points of each drawing are there when it is broken off, `(drawings,)`."""
    share = _LEAST_SEEN + (1 - _LEAST_SEEN) * draws[:, 7]
    return np.where(draws[:, 6] < params.break_off, np.ceil(share * lengths), lengths).astype(np.int64)


def _matrices(draws: np.ndarray, params: AugmentationParams, mirrored: np.ndarray) -> np.ndarray:
    """`(drawings, 2, 2)`: slant, stretch and mirror, then turn; for row vectors."""
    angle = np.deg2rad(params.rotation) * (2 * draws[:, 0] - 1)
    stretch = np.exp(params.scale * (2 * draws[:, 1:3] - 1))
    slant = params.shear * (2 * draws[:, 3] - 1)
    side = np.where((draws[:, 4] < params.mirror) & mirrored, -1.0, 1.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    first = np.zeros((len(draws), 2, 2), dtype=np.float32)
    first[:, 0, 0] = side * stretch[:, 0]
    first[:, 1, 0] = slant
    first[:, 1, 1] = stretch[:, 1]
    turn = np.stack([np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)], axis=1).astype(np.float32)
    return first @ turn


def _redrawn(
    steps: np.ndarray, drawing: np.ndarray, shuffled: np.ndarray, draws: np.ndarray, params: AugmentationParams
) -> tuple[np.ndarray, np.ndarray]:
    """Strokes left out, turned round and, in the `shuffled` drawings, in another order; steps of each drawing.

    `draws` is `(drawings, strokes, 3)`. All strokes stay where otherwise none would.
    """
    ends = np.flatnonzero(steps[:, 2])
    counts = np.diff(ends, prepend=-1)
    owner = drawing[ends]
    place = ranges(np.zeros(len(shuffled), dtype=np.int64), np.bincount(owner, minlength=len(shuffled)))
    kept, turned, order = draws[owner, place % _STROKES].T
    stays = kept >= params.drop_strokes
    stays |= ~np.logical_or.reduceat(stays, np.flatnonzero(place == 0))[owner]
    chosen = np.lexsort((np.where(shuffled[owner], order, 0), owner))  # stable: others keep their order
    chosen = chosen[stays[chosen]]
    backwards = (turned < params.reverse_strokes)[chosen]
    counts, starts = counts[chosen], (ends - counts + 1)[chosen]
    within = ranges(np.zeros_like(counts), counts)
    index = np.repeat(np.where(backwards, ends[chosen], starts), counts) + np.repeat(1 - 2 * backwards, counts) * within
    redrawn = steps[index]
    redrawn[:, 2] = 0
    redrawn[np.cumsum(counts) - 1, 2] = 1
    return redrawn, np.bincount(drawing[index], minlength=len(shuffled))

"""Random changes of clips, the same in all frames of a clip: what moves in it still moves as it did.

Which frames are shown is drawn as well: at another speed, with frames left out, each a little early or late. Their
order stays, since it is what is to be learned. All changes of a clip are a function of (seed, epoch, example), so that
it changes in the same way in whatever batch or process it comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....models.counter_rng import uniform
from ..params import AugmentationParams

_A_CLIP = 13  # columns of random numbers for a whole clip; after them comes one for each frame that is shown
_LEAST_FRAMES = 4  # that are left of a clip by frames left out, where it has as many
_BRIGHTNESS_OF = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)


def augmented(
    clips: Sequence[np.ndarray], params: AugmentationParams, examples: np.ndarray, *, seed: int, epoch: int
) -> list[np.ndarray]:
    """Changed clips of `(time, height, width, channels)` uint8, drawn by (seed, epoch, example) alone; `speed` and
    `stride` change their lengths.
    """
    draws = _draws([len(clip) for clip in clips], params, examples, seed=seed, epoch=epoch)
    return [_changed(clip, params, draw) for clip, draw in zip(clips, draws, strict=True)]


def augmented_features(
    clips: Sequence[tuple[np.ndarray, np.ndarray]],
    params: AugmentationParams,
    examples: np.ndarray,
    *,
    seed: int,
    epoch: int,
) -> list[np.ndarray]:
    """Of the features of each clip and of the mirrored clip, one of the two at the frames shown, `(shown, features)`:
    drawn as `augmented` draws them.
    """
    draws = _draws([len(clip) for clip, _ in clips], params, examples, seed=seed, epoch=epoch)
    return [
        (mirrored if _flipped(params, draw) else clip)[shown_frames(len(clip), params, draw)]
        for (clip, mirrored), draw in zip(clips, draws, strict=True)
    ]


def _draws(
    lengths: Sequence[int], params: AugmentationParams, examples: np.ndarray, *, seed: int, epoch: int
) -> np.ndarray:
    return uniform(seed, epoch, examples, _A_CLIP + int(np.ceil(max(lengths) / (1 - params.speed))))


def _flipped(params: AugmentationParams, draw: np.ndarray) -> bool:
    return params.flip and bool(draw[2] < 0.5)


def _changed(clip: np.ndarray, params: AugmentationParams, draw: np.ndarray) -> np.ndarray:
    clip = clip[shown_frames(len(clip), params, draw)]
    height, width = clip.shape[1:3]
    rows = _moved(height, params.shift, draw[0])
    columns = _moved(width, params.shift, draw[1])
    if _flipped(params, draw):
        columns = columns[::-1]
    contrast, brightness = 1 + params.brightness * (2 * draw[3:5] - 1)
    levels = (np.arange(256) - 127.5) * contrast + 127.5 * brightness
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    changed = table[clip[:, rows[:, None], columns]]
    if params.crop:
        changed = _cropped(changed, 1 - params.crop * draw[5], draw[6:8])
    if params.color and clip.shape[-1] == 3:
        changed = _recolored(changed, params.color * (2 * draw[8:10] - 1))
    return changed


def shown_frames(length: int, params: AugmentationParams, draw: np.ndarray) -> np.ndarray:
    """The indices of the frames to show of a clip, ascending, one may come twice: `(shown,)` int64."""
    stride = min(1 + int(draw[11] * params.stride), max(1, length // _LEAST_FRAMES))
    start = int(draw[12] * stride)
    # Evenly between as much slower and as much faster, in ratios: 1 - speed to 1 / (1 - speed) times as fast.
    step = stride * (1 - params.speed) ** (2 * draw[10] - 1)
    places = np.arange(start, length, step)
    late = params.jitter * (2 * draw[_A_CLIP : _A_CLIP + len(places)] - 1)
    return np.sort(np.clip(np.rint(places + late), 0, length - 1).astype(np.int64))


def _moved(side: int, share: float, draw: float) -> np.ndarray:
    """Where each pixel along a side is taken from, after a move by up to `share` of it; the border is repeated."""
    return np.clip(np.arange(side) + round((2 * draw - 1) * share * side), 0, side - 1)


def _cropped(clip: np.ndarray, share: float, where: np.ndarray) -> np.ndarray:
    """A part with `share` of height and width, enlarged to the whole by linear interpolation; `where` in [0, 1)."""
    values = clip.astype(np.float32)
    for axis, place in zip((1, 2), where, strict=True):
        side = clip.shape[axis]
        middles = (np.arange(side) + 0.5) * share + place * (1 - share) * side - 0.5
        middles = np.clip(middles, 0, side - 1)
        below = np.minimum(middles.astype(np.int64), side - 2)
        part = (middles - below).astype(np.float32).reshape([side if a == axis else 1 for a in range(4)])
        values = values.take(below, axis) * (1 - part) + values.take(below + 1, axis) * part
    return np.rint(values).astype(np.uint8)


def _recolored(clip: np.ndarray, change: np.ndarray) -> np.ndarray:
    """More or less colour, by the share `change[0]`, and another hue, by `change[1]` of a sixth of a turn, which is the
    way from red to yellow; greys stay.
    """
    saturation, angle = 1 + change[0], np.pi / 3 * change[1]
    # A turn about the axis of greys (Rodrigues' formula), then each colour moved to or from its own grey.
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) / 3
    matrix = (saturation * np.eye(3) + (1 - saturation) * _BRIGHTNESS_OF) @ turn
    changed: np.ndarray = np.clip(np.rint(clip @ matrix.T.astype(np.float32)), 0, 255).astype(np.uint8)
    return changed

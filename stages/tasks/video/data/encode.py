"""Clips decoded and encoded: small frames to look at, and the features that a network reads.

It imports nothing heavy: the preprocess stage loads torch only where it encodes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .columns import FEATURES, MIRRORED_FEATURES
from .decode import Clip, ClipError, Decoding, try_read_clip


def encode_clip(
    folder: Path, decoding: Decoding, weights: Path, mirrored: bool, size: int, name: str
) -> Clip | ClipError:
    """`try_read_clip` of `folder/name` with its frames' features by column, in a process of its own; the mirrored
    frames are encoded, too, if `mirrored`. The frames are averaged down to squares of `size` pixels.
    """
    from .efficientnet import encoder_of_process

    clip = try_read_clip(folder, decoding, name)
    if isinstance(clip, ClipError):
        return clip
    encoder = encoder_of_process(weights)
    features = {FEATURES: encoder.features(clip.frames)}
    if mirrored:
        features[MIRRORED_FEATURES] = encoder.features(clip.frames[:, :, ::-1])
    return replace(clip, frames=downscale(clip.frames, size), features=features)


def downscale(frames: np.ndarray, size: int) -> np.ndarray:
    """Square frames `(time, side, side, channels)`, averaged down to a `size` that divides their side."""
    time, side, _, channels = frames.shape
    cells = frames.reshape(time, size, side // size, size, side // size, channels)
    return np.rint(cells.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)

"""What a clip becomes where its frames are encoded: small frames to look at, and the features that a network reads.

It imports nothing heavy: the preprocess stage loads torch only where it encodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .columns import COLUMN, MIRRORED_COLUMN
from .decode import ClipError, Decoding, read_or_explain


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How the frames of a clip become features, and what is kept of the frames."""

    weights: Path
    mirrored: bool  # encode the mirrored frames, too
    size: int  # pixels of the squares that the frames are averaged down to


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedClip:
    """Small frames `(time, size, size, 3)` uint8 and, by column, features `(time, 3008)` float16."""

    frames: np.ndarray
    features: dict[str, np.ndarray]
    repairs: tuple[str, ...]


def read_and_encode(folder: Path, decoding: Decoding, encoding: Encoding, name: str) -> EncodedClip | ClipError:
    """`read_or_explain` of `folder/name` and what the encoder says to it, in a process of its own."""
    from .encode import encoder_of_process

    clip = read_or_explain(folder, decoding, name)
    if isinstance(clip, ClipError):
        return clip
    encoder = encoder_of_process(encoding.weights)
    features = {COLUMN: encoder.features(clip.frames)}
    if encoding.mirrored:
        features[MIRRORED_COLUMN] = encoder.features(clip.frames[:, :, ::-1])
    return EncodedClip(frames=smaller(clip.frames, encoding.size), features=features, repairs=clip.repairs)


def smaller(frames: np.ndarray, size: int) -> np.ndarray:
    """Square frames `(time, side, side, channels)`, averaged down to a `size` that divides their side."""
    time, side, _, channels = frames.shape
    cells = frames.reshape(time, size, side // size, size, side // size, channels)
    return np.rint(cells.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)

"""Frames as features of a network that has learned to name pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from .columns import FEATURES
from .efficientnet import EfficientNetLite0

_BATCH_SIZE = 16  # frames: of 224 pixels a side their widest maps take 77 MB


class FrameEncoder:
    """EfficientNet-Lite0 with the weights of a file that the preprocess stage wrote."""

    def __init__(self, path: Path) -> None:
        self._network = EfficientNetLite0()
        self._network.load_state_dict(load_file(path))
        self._network.eval()

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Frames `(time, height, width, 3)` uint8 to `(time, 3008)` float16, which hold them to 0.05 %."""
        found = np.empty((len(frames), FEATURES), dtype=np.float16)
        with torch.inference_mode():
            for start in range(0, len(frames), _BATCH_SIZE):
                # A copy, since frames may be mirrored or turned views.
                part = torch.from_numpy(frames[start : start + _BATCH_SIZE].copy())
                found[start : start + _BATCH_SIZE] = self._network.features(part).numpy()
        return found


@cache
def encoder_of_process(path: Path) -> FrameEncoder:
    """The encoder of a process that works on clip after clip, on one thread: several such processes work side by side,
    and another number would give other bits.
    """
    torch.set_num_threads(1)
    return FrameEncoder(path)

"""A clip that every version of the registered model can answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .source.sample import SIDE, encode

_FRAMES = 16


def example(folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """A clip, made in `folder`: a white bar that moves right."""
    frames = np.zeros((_FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    for time, frame in enumerate(frames):
        frame[:, 2 * time : 2 * time + 4] = 255
    path = folder / "example.mp4"
    encode(frames, path)
    return [{"path": str(path)}]

"""Small clips for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.tasks.video.source.sample import encode


def write_clip(path: Path, level: int, *, frames: int = 10, side: int = 32) -> Path:
    """A clip whose every frame is grey of one `level`, but for a white bar that moves right by a pixel a frame."""
    pictures = np.full((frames, side, side, 3), level, dtype=np.uint8)
    for time, picture in enumerate(pictures):
        picture[:, time % side] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(pictures, path)
    return path

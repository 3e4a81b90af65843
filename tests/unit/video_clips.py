"""Small clips for tests, as files and as prepared data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.data.store import ragged
from stages.preprocessing.preparation import Preparation
from stages.tasks.video.data.columns import FEATURE_SIZE, FEATURES
from stages.tasks.video.source.sample import encode


def write_clip(path: Path, level: int, *, frames: int = 10, side: int = 32) -> Path:
    """A clip whose every frame is grey of one `level`, but for a white bar that moves right by a pixel a frame."""
    pictures = np.full((frames, side, side, 3), level, dtype=np.uint8)
    for time, picture in enumerate(pictures):
        picture[:, time % side] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(pictures, path)
    return path


def write_store(
    folder: Path,
    clips: Mapping[str, Sequence[tuple[np.ndarray, int]]],
    data: Mapping[str, Any],
    *,
    encoder: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Path:
    """Prepared data of `(frames, label)` by split, each a group of its own, with features if `encoder` gives them."""
    shape = clips["train"][0][0].shape[1:]
    columns = {"label": pa.int32(), "group": pa.string(), "frames": ragged(np.uint8, *shape)}
    columns |= {FEATURES: ragged(np.float16, FEATURE_SIZE)} if encoder else {}
    with Preparation(folder, max_rejected_share=0.0) as output:
        with output.store(columns, metadata={"shape": shape}) as store:
            for split, members in clips.items():
                for number, (frames, label) in enumerate(members):
                    name = f"{split} {number:03d}"
                    row = {"id": name, "split": split, "length": len(frames), "label": label, "group": name}
                    store.append({**row, "frames": frames, **({FEATURES: encoder(frames)} if encoder else {})})
        output.describe(data)
    return folder

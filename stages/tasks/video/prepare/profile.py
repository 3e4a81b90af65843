"""What clips look like: frames, brightness, contrast and motion of each, and of labelled ones the class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ....data.evenly import evenly
from ....data.prepared import open_prepared
from ....preprocessing.profile import Categories, Known, Numbers, Observed

MOST_CLIPS = 5_000  # a clip is tens to hundreds of kilobytes


def learned(prepared: Path) -> Observed:
    """The training clips of the prepared data."""
    store, description = open_prepared(prepared)
    return current(prepared, store.rows("train"), Known(description, prepared))


def current(prepared: Path, rows: np.ndarray, known: Known) -> Observed:
    """Some rows of the prepared data, ascending."""
    store, description = open_prepared(prepared)
    rows = rows[evenly(len(rows), MOST_CLIPS)]
    side, _, channels = store.metadata["shape"]
    frames = (store.sequence("frames", row).reshape(-1, side, side, channels) for row in rows)
    labels, groups = (np.array(list(store.values(name, rows))) for name in ("label", "group"))
    classes = Categories(labels.astype(np.int64), description["classes"])
    return Observed(
        examples=len(rows),
        features={**picture_features(frames, known), "class": classes},
        groups=np.unique(groups, return_inverse=True)[1],
    )


def picture_features(clips: Iterable[np.ndarray], known: Known) -> dict[str, Numbers]:
    """Of clips, each `(time, height, width, channels)` uint8. Contrast and motion are those of frames of one size, so
    they are left out where a frozen encoder reads larger ones than are stored.
    """
    alike = not known.data.get("encoder", {}).get("frozen", False)
    rows = [_of_clip(frames) for frames in clips]
    values = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    names = ["frames", "brightness", *(["contrast", "motion"] if alike else [])]
    return {name: Numbers(column) for name, column in zip(names, values.T, strict=False)}


def _of_clip(frames: np.ndarray) -> tuple[float, float, float, float]:
    """Its number of frames; brightness, its deviation and its change from frame to frame, where 255 is white."""
    brightness = float(frames.mean())
    square = float(np.einsum("i,i->", *2 * [frames.reshape(-1).astype(np.float64)])) / frames.size
    motion = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean() if len(frames) > 1 else 0.0
    return len(frames), brightness, max(0.0, square - brightness**2) ** 0.5, float(motion)

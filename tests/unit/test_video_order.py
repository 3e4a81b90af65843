"""It is the order of the frames that a network learns: lost when they are shuffled, and in no single frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.evaluation.report import Report
from stages.tasks.video.data.columns import FEATURE_SIZE
from stages.tasks.video.evaluate.evaluate import evaluate
from stages.tasks.video.model.network import build, dataset
from stages.tasks.video.params import Params
from stages.training import distributed, loop
from tests.unit.test_video_kinds import NAMES
from tests.unit.test_video_model import DATA, PARAMS, STILL
from tests.unit.video_clips import write_store

_SIDE = 16
_CLIPS = {"train": 48, "validation": 8, "test": 48}
_LEFT_AND_RIGHT = {**DATA, "classes": ["Left", "Right"]}


def bars(count: int, *, seed: int) -> list[tuple[np.ndarray, int]]:
    """A light bar that goes left or right by two pixels a frame, and comes back on the other side: any frame of either
    is a bar anywhere.
    """
    generator = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        label = number % 2
        places = generator.integers(_SIDE) + (2 * label - 1) * 2 * np.arange(generator.integers(6, 9))
        frames = np.zeros((len(places), _SIDE, _SIDE, 1), dtype=np.uint8)
        for time, place in enumerate(places):
            frames[time][:, [place % _SIDE, (place + 1) % _SIDE]] = 255
        clips.append((frames, label))
    return clips


def said_to(frames: np.ndarray) -> np.ndarray:
    """What an encoder might say to each frame: numbers of its own for each place of the bar, `(time, 1280)` float16."""
    words = np.random.default_rng(0).normal(size=(_SIDE, FEATURE_SIZE))
    return (frames[:, 0, :, 0] / 255 @ words).astype(np.float16)


@pytest.mark.parametrize(
    ("kind", "encoder"),
    [*((kind, "none") for kind in NAMES), *((k, "efficientnet_lite0") for k in ("cnn_lstm", "transformer"))],
)
def test_the_order_of_the_frames_is_what_was_learned(kind: str, encoder: str, tmp_path: Path) -> None:
    encoded = encoder != "none"
    data: dict[str, Any] = _LEFT_AND_RIGHT | ({"encoder": {"name": encoder, "frozen": True}} if encoded else {})
    clips = {split: bars(count, seed=number) for number, (split, count) in enumerate(_CLIPS.items())}
    folder = write_store(tmp_path / "prepared", clips, data, encoder=said_to if encoded else None)
    model = {**PARAMS["model"], "kind": kind, "hidden_size": 16, "features": 16, "pooling": "mean", "dropout": 0.0}
    params = Params.model_validate(
        {
            **PARAMS,
            "prepare": {**PARAMS["prepare"], "encoder": encoder, **({"color": "rgb"} if encoded else {})},
            "model": {**model, "augmentation": STILL},
            "train": {**PARAMS["train"], "epochs": 12, "batch_size": 8, "learning_rate": 0.01},
        }
    )
    distributed.configure(seed=1, threads=1)
    network = build(params.model, data)
    train, validation = (dataset(folder, split, params, augment=False) for split in ("train", "validation"))
    loop.fit(network, train, validation, params.train)
    report = Report(tmp_path / "report")
    evaluate(network, folder, params, report)
    found = report.metrics
    assert found["accuracy"] >= 0.95
    assert found["shuffled_accuracy"] < 0.75
    assert 0.25 < found["baseline_single_frame_accuracy"] < 0.75

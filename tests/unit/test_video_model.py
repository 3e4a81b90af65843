"""What the network may see of a clip: its own frames, in their order, changed alike."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.evaluation.report import Report
from stages.models.batch import Batch, pad
from stages.tasks.video.data.decode import Decoding
from stages.tasks.video.evaluate.baselines import ShuffledClips, cells
from stages.tasks.video.evaluate.evaluate import evaluate
from stages.tasks.video.evaluate.pictures import interleave_classes
from stages.tasks.video.model.encoders import changes
from stages.tasks.video.model.network import build, dataset
from stages.tasks.video.params import ModelParams, Params
from tests.unit.test_loop import PARAMS as ENGINE_PARAMS
from tests.unit.video_clips import write_store

STILL = {"shift": 0.0, "crop": 0.0, "brightness": 0.0, "color": 0.0, "flip": False}
STILL |= {"speed": 0.0, "stride": 1, "jitter": 0.0}
AUGMENTATION = {**STILL, "shift": 0.25, "brightness": 0.2}
MODEL = {
    "kind": "cnn_lstm",
    "channels": [8, 16],
    "temporal_strides": [1, 2],
    "encoder_rate": 0.5,
    "features": 8,
    "frame_changes": True,
    "moments": False,
    "cell": "lstm",
    "hidden_size": 8,
    "layers": 1,
    "heads": 2,
    "bidirectional": False,
    "pooling": "last",
    "dropout": 0.1,
    "recurrent_dropout": 0.0,
    "layer_norm": False,
    "truncation": 0,
    "label_smoothing": 0.0,
    "augmentation": AUGMENTATION,
}
DECODING = Decoding(
    size=16, channels=1, frames=8, min_frames=4, max_decoded_frames=100, max_pixels=10**6, max_seconds=30.0
)
DATA: dict[str, Any] = {"classes": ["Dark", "Grey", "Light"], "decoding": asdict(DECODING), "clips": {}}


def _clips(*lengths: int, side: int = 16) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.integers(0, 256, (length, side, side, 1), dtype=np.uint8) for length in lengths]


def _batch(clips: list[np.ndarray]) -> Batch:
    values, lengths = pad(clips)
    return Batch(values=values, lengths=lengths)


@pytest.mark.parametrize(
    ("pooling", "bidirectional"),
    [("last", False), ("mean", False), ("max", False), ("mean", True), ("max", True), ("statistics", True)],
)
def test_a_longer_clip_beside_it_changes_no_answer(pooling: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    params = ModelParams.model_validate({**MODEL, "pooling": pooling, "bidirectional": bidirectional})
    network = build(params, DATA).eval()
    short, long = _clips(5, 9)
    with torch.inference_mode():
        alone = network(_batch([short]))[0]
        beside = network(_batch([short, long]))[0]
    assert torch.allclose(alone, beside, atol=1e-5)


def test_a_change_is_what_a_frame_adds_to_the_one_before() -> None:
    frames = torch.tensor([[1.0, 4.0, 2.0]]).reshape(1, 3, 1)
    assert changes(frames).flatten().tolist() == [0.0, 3.0, -2.0]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Three classes that differ in their level: 4 clips each to train on, 1 to validate, 2 to test."""
    generator = np.random.default_rng(1)

    def clip(label: int, length: int) -> tuple[np.ndarray, int]:
        return (generator.integers(0, 20, (length, 16, 16, 1)) + 100 * label).astype(np.uint8), label

    lengths = {"train": (4, 5, 6, 4), "validation": (5,), "test": (6, 4)}
    clips = {split: [clip(label, n) for n in chosen for label in range(3)] for split, chosen in lengths.items()}
    return write_store(tmp_path / "prepared", clips, DATA)


PARAMS = {
    "source": {
        **{"kind": "sample", "url": "", "classes": [], "clips_per_class": 10, "seed": 1, "max_gigabytes": 1.0},
        **{"also": [], "also_test": False},
    },
    "prepare": {
        "size": 16,
        "color": "gray",
        "encoder": "none",
        "frozen": True,
        "weights": "",
        "weights_sha256": "",
        "mirrored": False,
        "frames": 8,
        "min_frames": 4,
        "max_decoded_frames": 100,
        "max_megapixels": 1.0,
        "max_seconds": 30.0,
        "split": "group",
        "group": "(g)",
        "validation_share": 0.2,
        "test_share": 0.2,
        "seed": 1,
        "max_rejected_share": 0.1,
    },
    "model": MODEL,
    "train": ENGINE_PARAMS.model_dump() | {"epochs": 1, "batch_size": 4},
    "evaluate": {"ranks": 1, "seed": 1, "pictures": 3, "baselines": ["frame", "moments"], "single_frames_per_clip": 2},
    "register": {
        "promotion": "automatic",
        "confidence": 0.9,
        "comparison_examples": 10,
        "min_examples": 10,
        "must_beat": ["majority"],
    },
    "monitor": {
        "rewritten_past": "refuse",
        "retrain": "on_new_data",
        "pause_days": 1,
        "drift": {"significance": 0.002, "warning_effect": 0.1, "drift_effect": 0.2},
    },
}


def test_shuffled_clips_keep_their_frames_and_their_padding(prepared: Path) -> None:
    clips = dataset(prepared, "test", Params.model_validate(PARAMS), augment=False)
    examples = np.arange(len(clips))
    ordered = clips.batch(examples)
    shuffled = ShuffledClips(clips, seed=1).batch(examples)
    again = ShuffledClips(clips, seed=1).batch(examples[::-1].copy())
    assert torch.equal(shuffled.values, again.values.flip(0))
    assert not torch.equal(shuffled.values, ordered.values)
    for before, after, length in zip(ordered.values, shuffled.values, ordered.lengths.tolist(), strict=True):
        assert sorted(f.sum().item() for f in before[:length]) == sorted(f.sum().item() for f in after[:length])
        assert (after[length:] == 0).all()


def test_single_frames_are_averaged_down_to_cells() -> None:
    frame = np.arange(32 * 32).reshape(1, 32, 32, 1)
    averaged = cells(frame)
    assert averaged.shape == (1, 16 * 16)
    assert averaged[0, 0] == (0 + 1 + 32 + 33) / 4


def test_evaluation_measures_the_baselines_on_the_same_clips(prepared: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    params = Params.model_validate(PARAMS)
    report = Report(tmp_path / "report")
    evaluate(build(params.model, DATA), prepared, params, report)
    assert report.n == 6
    assert report.metrics["baseline_majority_accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert report.metrics["baseline_single_frame_accuracy"] == 1.0  # here a level is a class
    assert report.metrics["baseline_moments_accuracy"] == 1.0
    assert 0.0 <= report.metrics["shuffled_accuracy"] <= 1.0
    drawn = {path.stem for path in (tmp_path / "report" / "pictures").iterdir()}
    assert drawn == {"calibration", "clips", "confusion", "mistakes", "slices"}
    assert {part.slice for part in report.slices} == {"class", "number of frames"}


def test_clips_come_one_of_each_class_in_turn(prepared: Path) -> None:
    clips = dataset(prepared, "test", Params.model_validate(PARAMS), augment=False)
    order = interleave_classes(clips, seed=1)
    assert sorted(order.tolist()) == list(range(6))
    assert clips.labels[order].tolist() == [0, 1, 2, 0, 1, 2]

"""The answers while a clip goes on are those to its first frames alone, and the picture draws them as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.models.batch import Batch, pad
from stages.tasks.video.data.columns import FEATURE_SIZE
from stages.tasks.video.evaluate import pictures
from stages.tasks.video.evaluate.pictures import draw_clips
from stages.tasks.video.evaluate.prefixes import Prefixes, PrefixProbabilities, predict_prefixes
from stages.tasks.video.model.clips import ClipDataset
from tests.unit import test_video_features
from tests.unit.test_video_kinds import KINDS, network_of
from tests.unit.test_video_model import DATA
from tests.unit.video_clips import write_store

_LENGTHS = (5, 2, 8, 40)


def said_to(frames: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(len(frames), FEATURE_SIZE)).astype(np.float16)


def clips_in(folder: Path, *, encoded: bool = False) -> ClipDataset:
    """Clips of other lengths, whose frames know nothing of each other."""
    generator = np.random.default_rng(1)
    clips = [(generator.integers(0, 256, (length, 16, 16, 1), dtype=np.uint8), 0) for length in _LENGTHS]
    write_store(folder, {"train": clips}, DATA, encoder=said_to if encoded else None)
    return ClipDataset(folder, "train", None, seed=0)


def assert_answers_to_first_frames(network: torch.nn.Module, clips: ClipDataset) -> None:
    """Each clip cut short by hand, and asked about alone."""
    chosen = np.array([2, 0, 1])
    for clip, answers in zip(chosen, predict_prefixes(network, clips, chosen), strict=True):  # type: ignore[arg-type]
        whole = clips.features(clip) if clips.encoded else clips.clip(clip)
        assert answers.lengths.tolist() == list(range(1, len(whole) + 1))
        for seen, probabilities in zip(answers.lengths, answers.probabilities, strict=True):
            values, lengths = pad([whole[:seen]])
            with torch.inference_mode():
                alone = network(Batch(values=values, lengths=lengths))[0].softmax(dim=0)
            np.testing.assert_allclose(probabilities, alone, atol=1e-5)


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_nothing_of_later_frames_is_in_an_answer(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_answers_to_first_frames(network_of(changes).eval(), clips_in(tmp_path))


@pytest.mark.parametrize("changes", test_video_features.KINDS, ids=str)
def test_nothing_of_later_features_is_in_an_answer(changes: dict[str, Any], tmp_path: Path) -> None:
    network = test_video_features.network_of(changes).eval()
    assert_answers_to_first_frames(network, clips_in(tmp_path, encoded=True))


def test_a_long_clip_is_asked_about_from_its_first_frame_to_its_last_in_few_steps(tmp_path: Path) -> None:
    prefixes = Prefixes(clips_in(tmp_path), np.array([3, 1]))
    seen = prefixes.by_clip[0]
    assert (len(seen), seen[0], seen[-1]) == (32, 1, 40)
    assert set(np.diff(seen)) == {1, 2}
    assert len(prefixes) == 34
    assert prefixes.name(33) == "train 001, first 2 frames"
    batch = prefixes.batch(np.array([0, 31]))
    assert batch.lengths.tolist() == [1, 40]
    assert not batch.values[0, 1:].any()


def test_a_strip_has_the_answer_above_it_and_ends_with_its_probability(tmp_path: Path) -> None:
    """A right answer and a wrong one, of clips that are both dark."""
    clips = clips_in(tmp_path)
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.1, 0.6]])
    found = [
        PrefixProbabilities(
            lengths=np.array([1, 3, 5]), probabilities=np.stack([[0.1, 0.6, 0.3], [0.4, 0.4, 0.2], probabilities[0]])
        ),
        PrefixProbabilities(lengths=np.array([1, 2]), probabilities=np.stack([[0.5, 0.1, 0.4], probabilities[1]])),
    ]
    (axes,) = draw_clips(clips, np.array([0, 1]), probabilities, found, "Two clips").axes
    assert [text.get_text() for text in axes.texts if text.get_text() not in "01"] == [
        "Dark 0.70",
        "Light 0.60, is Dark",
    ]
    left, _ = (image.get_extent() for image in axes.images)
    right = [line for line in axes.lines if line.get_color() == "tab:green"]
    (wrong,) = (line for line in axes.lines if line.get_color() == "tab:red")
    assert right[0].get_xdata() == pytest.approx([left[0] + 0.5, (left[0] + left[1]) / 2, left[1] - 0.5])

    def shares(line: Any) -> np.ndarray:
        bottom = max(np.asarray(level.get_ydata()).max() for level in axes.lines if level.get_color() == "gainsboro")
        return (bottom - np.asarray(line.get_ydata())) / pictures._CURVE

    assert shares(right[0]) == pytest.approx([0.1, 0.4, 0.7])
    assert shares(right[1]) == pytest.approx([0.5, 0.3])
    assert shares(wrong) == pytest.approx([0.4, 0.6])

"""Clips are changed alike in all their frames, and their frames keep their order."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stages.tasks.video.model.augment import augmented, shown_frames
from stages.tasks.video.params import AugmentationParams
from tests.unit.test_video_model import AUGMENTATION, STILL

LIVELY: dict[str, Any] = {"shift": 0.2, "crop": 0.3, "brightness": 0.2, "color": 0.4, "flip": True}
LIVELY |= {"speed": 0.3, "stride": 2, "jitter": 1.5}


def clips_of(*lengths: int, channels: int = 3) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.integers(0, 256, (length, 16, 16, channels), dtype=np.uint8) for length in lengths]


def only(**changes: object) -> AugmentationParams:
    """No change but these."""
    return AugmentationParams.model_validate({**STILL, **changes})


def shown(params: AugmentationParams, length: int, *, draws: int = 200) -> list[np.ndarray]:
    """The frames that are shown of a clip, for some draws."""
    generator = np.random.default_rng(2)
    return [shown_frames(length, params, generator.random(13 + 2 * length)) for _ in range(draws)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("changes", [AUGMENTATION, LIVELY, {**STILL, "crop": 0.5}], ids=str)
def test_augmentation_is_the_same_in_all_frames_of_a_clip(changes: dict[str, Any], channels: int) -> None:
    still = [np.repeat(clip, 6, axis=0) for clip in clips_of(1, 1, channels=channels)]
    changed = augmented(still, AugmentationParams.model_validate(changes), np.array([0, 1]), seed=1, epoch=0)
    for before, after in zip(still, changed, strict=True):
        assert after.shape[1:] == before.shape[1:]
        assert after.dtype == np.uint8
        assert (after == after[:1]).all()
        assert not np.array_equal(after[0], before[0])


@pytest.mark.parametrize("changes", [AUGMENTATION, LIVELY], ids=str)
def test_augmentation_depends_on_seed_epoch_and_example_alone(changes: dict[str, Any]) -> None:
    clip, other, longer = clips_of(12, 12, 30)

    def changed(*, example: int, epoch: int, beside: np.ndarray = other, seed: int = 1) -> np.ndarray:
        params = AugmentationParams.model_validate(changes)
        return augmented([beside, clip], params, np.array([1, example]), seed=seed, epoch=epoch)[1]

    first = changed(example=5, epoch=0)
    assert np.array_equal(first, changed(example=5, epoch=0, beside=longer))
    assert not np.array_equal(first, changed(example=5, epoch=1))
    assert not np.array_equal(first, changed(example=6, epoch=0))
    assert not np.array_equal(first, changed(example=5, epoch=0, seed=2))


def test_left_stays_left_unless_flips_are_asked_for() -> None:
    clip = np.zeros((4, 16, 16, 1), dtype=np.uint8)
    clip[:, :, :3] = 200  # light on the left
    examples = np.arange(40)
    for flip, sides in ((False, {True}), (True, {True, False})):
        changed = augmented([clip] * len(examples), only(shift=0.25, flip=flip), examples, seed=1, epoch=0)
        assert {bool(c[:, :, :8].mean() >= c[:, :, 8:].mean()) for c in changed} == sides


def test_no_change_is_asked_for_and_none_is_made() -> None:
    clips = clips_of(4, 7)
    changed = augmented(clips, only(), np.array([3, 4]), seed=1, epoch=2)
    assert all(np.array_equal(a, b) for a, b in zip(clips, changed, strict=True))


def test_a_part_is_enlarged_and_lies_within_the_picture() -> None:
    """On a ramp of columns, what is seen stays a ramp, flatter by the share that is kept."""
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 10, (1, 16, 16, 1))
    changed = augmented([ramp] * 50, only(crop=0.5), np.arange(50), seed=1, epoch=0)
    widths = np.array([float(clip.max()) - float(clip.min()) for clip in changed])
    assert widths.min() >= 150 * 0.5 - 6
    assert widths.max() <= 150
    assert np.ptp(widths) > 30
    for clip in changed:
        steps = np.diff(clip[0, 0, :, 0].astype(int))
        assert steps.min() >= 0
        assert steps[1:-1].max() - steps[1:-1].min() <= 1


def test_colours_turn_and_fade_while_greys_and_brightness_stay() -> None:
    grey = np.full((1, 16, 16, 3), 90, dtype=np.uint8)
    red = np.broadcast_to(np.array([180, 60, 60], dtype=np.uint8), (1, 16, 16, 3))
    examples = np.arange(50)
    assert all((clip == 90).all() for clip in augmented([grey] * 50, only(color=1.0), examples, seed=1, epoch=0))
    found = np.array([c[0, 0, 0] for c in augmented([red] * 50, only(color=0.3), examples, seed=1, epoch=0)])
    hues = np.array([colorsys.rgb_to_hsv(*(color / 255))[0] for color in found])
    turns = 360 * np.minimum(hues, 1 - hues)  # degrees away from red: 0.3 of a sixth of a turn at the most
    assert turns.max() <= 20
    assert turns.max() > 10
    assert np.ptp(found.max(axis=1).astype(float) - found.min(axis=1)) > 30  # some are paler than others
    same = clips_of(2, channels=1)
    assert np.array_equal(augmented(same, only(color=1.0), np.array([0]), seed=1, epoch=0)[0], same[0])


def test_frames_are_left_out_evenly_and_enough_of_them_stay() -> None:
    found = shown(only(stride=3), 12)
    assert {tuple(np.unique(np.diff(frames))) for frames in found} == {(1,), (2,), (3,)}
    assert {int(frames[0]) for frames in found} == {0, 1, 2}
    assert min(len(frames) for frames in found) == 4
    assert {len(frames) for frames in shown(only(stride=16), 5)} == {5}  # every second would leave fewer than four


def test_a_clip_runs_faster_and_slower_by_as_much() -> None:
    lengths = np.array([len(frames) for frames in shown(only(speed=0.5), 40)])
    assert lengths.min() in (20, 21)
    assert lengths.max() in (79, 80)
    assert 0.4 < np.mean(lengths > 40) < 0.6


def test_jitter_moves_frames_by_so_many_and_keeps_their_order() -> None:
    found = shown(only(jitter=2.0), 20)
    assert all(len(frames) == 20 and (np.diff(frames) >= 0).all() for frames in found)
    moves = np.concatenate([frames - np.arange(20) for frames in found])
    assert (moves.min(), moves.max()) == (-2, 2)


@pytest.mark.parametrize("length", [1, 2, 3, 24])
def test_every_clip_keeps_a_frame_and_shows_only_its_own(length: int) -> None:
    for frames in shown(only(speed=0.5, stride=16, jitter=16.0), length):
        assert len(frames) > 0
        assert frames.min() >= 0
        assert frames.max() < length


@pytest.mark.parametrize("changes", [{"speed": 0.6}, {"stride": 0}, {"crop": 1.0}, {"color": 1.1}, {"jitter": -1.0}])
def test_an_augmentation_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        only(**changes)

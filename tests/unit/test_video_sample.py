"""The embedded sample: only the order of frames tells its classes apart."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from stages.tasks.video.source.sample import (
    MOTIONS,
    SIDE,
    Track,
    draw_clip,
    draw_track,
    encode,
    read_digits,
    render,
    write_sample,
)


def _generator(number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[7, number]))


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_single_frame_tells_nothing_of_the_motion(motion: str) -> None:
    """At the first, a middle and the last frame, position and size have the same distribution in every class."""
    tracks = [draw_track(motion, 16, _generator(i)) for i in range(1500)]
    for frame in (0, 8, 15):
        for values, low, high in (
            ([t.x[frame] % SIDE for t in tracks], 0, SIDE),
            ([t.y[frame] % SIDE for t in tracks], 0, SIDE),
            ([np.log(t.size[frame]) for t in tracks], np.log(11), np.log(24)),
        ):
            # Kolmogorov and Smirnov: the largest distance to a uniform distribution; beyond 0.042 once in 100 draws.
            ordered = (np.sort(values) - low) / (high - low)
            distance = np.abs(ordered - (np.arange(1500) + 0.5) / 1500).max()
            assert distance < 0.05


def test_motions_go_where_their_names_say() -> None:
    """Right is towards larger x and up towards smaller y; clockwise turns from right to down, where y is."""

    def steps(motion: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        track = draw_track(motion, 16, _generator(1))
        return np.diff(track.x), np.diff(track.y), np.diff(track.size)

    assert (steps("MoveRight")[0] > 0).all()
    assert (steps("MoveRight")[1] == 0).all()
    assert (steps("MoveLeft")[0] < 0).all()
    assert (steps("MoveUp")[1] < 0).all()
    assert (steps("MoveUp")[0] == 0).all()
    assert (steps("MoveDown")[1] > 0).all()
    for motion, sign in (("CircleClockwise", 1), ("CircleCounterclockwise", -1)):
        x, y, _ = steps(motion)
        assert (sign * (x[:-1] * y[1:] - y[:-1] * x[1:]) > 0).all()
    # Sizes sweep: a step the other way is the jump back to the start of a sweep, at most two in 16 frames.
    assert (steps("Grow")[2] < 0).sum() <= 2
    assert (steps("Shrink")[2] > 0).sum() <= 2


def test_what_leaves_on_one_side_comes_back_on_the_other() -> None:
    digit = np.zeros((8, 8), dtype=np.float32)
    digit[3:5, 3:5] = 1.0  # a blob in the middle, two cells wide
    track = Track(x=np.array([0.0]), y=np.array([SIDE / 2]), size=np.array([8.0]))  # a cell is a pixel
    row = render(digit, track)[0, SIDE // 2]
    assert row.tolist() == [1.0, *[0.0] * (SIDE - 2), 1.0]


def test_no_frame_carries_traces_of_its_neighbours(tmp_path: Path) -> None:
    """A frame of a clip decodes to the very picture that it gives when it is encoded alone."""
    frames = draw_clip(read_digits()[3], "MoveLeft", _generator(2))
    encode(frames, tmp_path / "clip.mp4")
    for position in (1, len(frames) - 1):
        encode(frames[position : position + 1], tmp_path / "alone.mp4")
        assert np.array_equal(_decoded(tmp_path / "clip.mp4")[position], _decoded(tmp_path / "alone.mp4")[0])


def _decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_same_seed_gives_the_same_bytes_and_more_clips_change_none(tmp_path: Path) -> None:
    write_sample(tmp_path / "one", clips_per_class=1, seed=3)
    write_sample(tmp_path / "two", clips_per_class=3, seed=3)
    first = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*.mp4")}
    second = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*.mp4")}
    assert len(first) == len(MOTIONS)
    assert len(second) == 3 * len(MOTIONS)
    assert {name: second[name] for name in first} == first
    assert len(set(second.values())) == len(second)
    assert Path("Grow/v_Grow_g02_c01.mp4") in second  # the third clip shows the second digit

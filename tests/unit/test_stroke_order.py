"""Strokes in one order: a drawing looks as it did, whatever order and direction it was drawn in."""

from __future__ import annotations

import numpy as np
import pytest

from stages.tasks.drawing.model.order import in_order

SQUARE = [(10, 100), (200, 110), (190, 250), (12, 240), (10, 100)]
SMALL = [[(150, 10), (160, 12)], [(205, 120), (215, 118), (230, 119)], [(3, 200), (9, 230)]]


def steps_of(*strokes: list[tuple[int, int]]) -> np.ndarray:
    return np.array([[x, y, int(n + 1 == len(s))] for s in strokes for n, (x, y) in enumerate(s)], dtype=np.uint8)


def strokes_of(steps: np.ndarray) -> list[list[tuple[int, int]]]:
    parts = np.split(steps, np.flatnonzero(steps[:, 2])[:-1] + 1)
    return [[(int(x), int(y)) for x, y, _ in part] for part in parts]


def ordered(*strokes: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    steps = steps_of(*strokes)
    return strokes_of(in_order(steps, np.array([len(steps)])))


def test_large_strokes_come_first_and_small_ones_go_clockwise_from_the_top() -> None:
    assert ordered(SMALL[2], SMALL[1], SQUARE, SMALL[0]) == [SQUARE, *SMALL]


@pytest.mark.parametrize("seed", range(5))
def test_order_direction_and_beginning_do_not_matter(seed: int) -> None:
    generator = np.random.default_rng(seed)
    turn = int(generator.integers(4))
    square = [*SQUARE[turn:-1], *SQUARE[: turn + 1]]
    strokes = [s[::-1] if generator.random() < 0.5 else s for s in [square, *SMALL]]
    shuffled = [strokes[number] for number in generator.permutation(len(strokes))]
    assert ordered(*shuffled) == [SQUARE, *SMALL]


def test_an_end_near_the_beginning_becomes_the_beginning() -> None:
    assert ordered([*SQUARE[:-1], (14, 108)]) == [SQUARE]
    open_line = [*SQUARE[:-1], (80, 180)]
    assert sorted(ordered(open_line)[0]) == sorted(open_line)


def test_points_and_strokes_of_many_drawings_stay_with_them() -> None:
    generator = np.random.default_rng(0)
    parts = []
    for _ in range(50):
        count = int(generator.integers(1, 30))
        part = generator.integers(0, 256, (count, 3)).astype(np.uint8)
        part[:, 2] = generator.random(count) < 0.3
        part[-1, 2] = 1
        parts.append(part)
    lengths = np.array([len(part) for part in parts])
    together = np.split(in_order(np.concatenate(parts), lengths), np.cumsum(lengths)[:-1])
    for part, found in zip(parts, together, strict=True):
        assert np.array_equal(found, in_order(part, np.array([len(part)])))
        assert found.dtype == np.uint8
        assert sorted(map(len, strokes_of(part))) == sorted(map(len, strokes_of(found)))
        assert {(x, y) for x, y, _ in found.tolist()} <= {(x, y) for x, y, _ in part.tolist()}

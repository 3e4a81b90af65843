"""The one simplification that drawings of all forms go through."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stages.tasks.sketch.source.drawings import canonical_readings, collect
from stages.tasks.sketch.source.quickdraw import from_stroke_3
from stages.tasks.sketch.source.strokes import Ink, canonical, join, reduce_points, resample, simplify

QUICKDRAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "quickdraw"
needs_data = pytest.mark.skipif(not QUICKDRAW.is_dir(), reason="the shared data is not here")


def ink(*drawings: object) -> Ink:
    collected = collect(list(drawings))
    assert collected.ink is not None
    assert not collected.bad
    return collected.ink


def test_resampling_puts_a_point_at_every_pixel_and_keeps_the_last() -> None:
    resampled = resample(ink([[[0, 2, 2], [0, 0, 1.5]]]))
    assert resampled.points.tolist() == [[0, 0], [1, 0], [2, 0], [2, 1], [2, 1.5]]
    assert resampled.strokes.tolist() == [5]


def test_resampling_steps_round_a_corner_without_stopping_at_it() -> None:
    resampled = resample(ink([[[0, 1.5, 1.5], [0, 0, 1.5]]]))
    assert resampled.points.tolist() == [[0, 0], [1, 0], [1.5, 0.5], [1.5, 1.5]]


def test_resampling_gives_a_dot_two_points_and_leaves_its_neighbours_alone() -> None:
    resampled = resample(ink([[[0, 1], [0, 0]], [[5], [5]], [[9, 9], [0, 2]]]))
    assert resampled.strokes.tolist() == [2, 2, 3]
    assert resampled.points.tolist() == [[0, 0], [1, 0], [5, 5], [5, 5], [9, 0], [9, 1], [9, 2]]


def test_a_point_two_pixels_off_the_line_goes_and_one_further_off_stays() -> None:
    reduced = reduce_points(ink([[[0, 10, 20], [0, 2, 0]], [[0, 10, 20], [0, 2.1, 0]]]))
    assert reduced.points.tolist() == [[0, 0], [20, 0], [0, 0], [10, 2.1], [20, 0]]
    assert reduced.strokes.tolist() == [2, 3]
    assert reduced.drawings.tolist() == [2]


def test_a_closed_line_is_measured_from_the_point_where_it_closes() -> None:
    square = [[0, 10, 10, 0, 0], [0, 0, 10, 10, 0]]
    assert reduce_points(ink([square])).points.tolist() == [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]


def test_simplifying_aligns_scales_and_rounds() -> None:
    simplified = simplify(ink([[[-10, 92], [5, 5]], [[-10, 41], [5, 25]]]))
    # 255 / 102 = 2.5: 51 * 2.5 = 127.5 and 20 * 2.5 = 50
    assert simplified.points.tolist() == [[0, 0], [255, 0], [0, 0], [128, 50]]


def test_a_dot_is_one_step_whether_it_comes_as_one_point_or_as_two() -> None:
    steps, lengths = canonical(ink([[[0, 255], [0, 0]], [[7], [9]]], [[[0, 255], [0, 0]], [[7, 7], [9, 9]]]))
    assert lengths.tolist() == [3, 3]
    assert steps[:3].tolist() == steps[3:].tolist() == [[0, 0, 0], [255, 0, 1], [7, 9, 1]]


def test_place_and_size_on_the_canvas_do_not_matter() -> None:
    generator = np.random.default_rng(3)
    xs, ys = np.cumsum(generator.normal(0, 9, (2, 80)), axis=1)
    drawing = [[xs.tolist(), ys.tolist()]]
    moved = [[(4 * xs - 1000).tolist(), (4 * ys + 17).tolist()]]
    steps, lengths = canonical(ink(drawing, moved))
    assert lengths[0] == lengths[1]
    assert (steps[: lengths[0]] == steps[lengths[0] :]).all()


def test_a_drawing_does_not_depend_on_the_ones_beside_it() -> None:
    generator = np.random.default_rng(4)
    some = [ink([[xs.tolist(), ys.tolist()] for xs, ys in generator.uniform(0, 500, (3, 2, 20))]) for _ in range(5)]
    together, lengths = canonical(join(some))
    for one, steps in zip(some, np.split(together, np.cumsum(lengths)[:-1]), strict=True):
        assert (canonical(one)[0] == steps).all()


def test_ink_takes_drawings_in_any_order() -> None:
    all_three = ink([[[1], [1]]], [[[2, 3], [2, 3]], [[4], [4]]], [[[5], [5]]])
    some = all_three.take(np.array([2, 1]))
    assert some.points[:, 0].tolist() == [5, 2, 3, 4]
    assert some.strokes.tolist() == [1, 2, 1]
    assert some.drawings.tolist() == [1, 2]


@cache
def pairs() -> list[tuple[object, list[list[list[int]]]]]:
    """Raw drawings beside what Google made of them, by key_id."""
    found: list[tuple[object, list[list[list[int]]]]] = []
    for raw_file in sorted((QUICKDRAW / "full" / "raw").glob("*.ndjson")):
        simplified_file = QUICKDRAW / "full" / "simplified" / raw_file.name
        if simplified_file.is_file():
            raw, simplified = (by_key(path) for path in (raw_file, simplified_file))
            found.extend((raw[key], simplified[key]) for key in sorted(raw.keys() & simplified.keys()))
    return found


def by_key(path: Path) -> dict[str, list[list[list[int]]]]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {record["key_id"]: record["drawing"] for record in records}


@needs_data
def test_raw_drawings_simplify_to_what_google_made_of_them() -> None:
    both = pairs()
    ours = collect([raw for raw, _ in both]).ink
    assert ours is not None
    assert len(both) > 1000
    made = simplify(ours)
    strokes = np.split(made.points, np.cumsum(made.strokes)[:-1])
    equal = [
        s.tolist() == np.transpose(g).tolist() for s, g in zip(strokes, (g for _, d in both for g in d), strict=True)
    ]
    assert np.mean(equal) > 0.97


@needs_data
def test_the_form_of_a_file_cannot_be_told_from_its_sequences() -> None:
    both = pairs()
    raw = canonical_readings(collect([raw for raw, _ in both]), max_points=1000)
    simplified = canonical_readings(collect([drawing for _, drawing in both]), max_points=1000)
    stroke_3 = canonical_readings(from_stroke_3([as_stroke_3(drawing) for _, drawing in both]), max_points=1000)
    equal = [a.tolist() == b.tolist() for a, b in zip(raw.sequences(), simplified.sequences(), strict=True)]
    assert np.mean(equal) > 0.88
    assert abs(raw.lengths.mean() / simplified.lengths.mean() - 1) < 0.005
    assert (stroke_3.steps == simplified.steps).all()


def as_stroke_3(drawing: list[list[list[int]]]) -> np.ndarray:
    """As sketch-rnn's `lines_to_strokes` writes it: offsets, and no row for the first point."""
    rows = [(x, y, k == len(xs) - 1) for xs, ys in drawing for k, (x, y) in enumerate(zip(xs, ys, strict=True))]
    array = np.array(rows, dtype=np.int16)
    array[1:, :2] = np.diff(array[:, :2], axis=0)
    return array[1:]

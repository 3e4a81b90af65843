"""The one simplification that drawings of all forms go through."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stages.tasks.sketch.data.canonical import canonicalize
from stages.tasks.sketch.data.parse import parse, stroke_3
from stages.tasks.sketch.data.simplify import align_and_scale, canonical_steps, reduce_points, resample, simplify
from stages.tasks.sketch.data.strokes import Strokes, strokes_of

QUICKDRAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "quickdraw"
needs_data = pytest.mark.skipif(not QUICKDRAW.is_dir(), reason="the shared data is not here")


def strokes(*drawings: object) -> Strokes:
    parsed = parse(drawings)
    assert not parsed.bad
    return parsed.strokes


def test_resampling_puts_a_point_at_every_pixel_and_keeps_the_last() -> None:
    resampled = resample(strokes([[[0, 2, 2], [0, 0, 1.5]]]))
    assert resampled.points.tolist() == [[0, 0], [1, 0], [2, 0], [2, 1], [2, 1.5]]
    assert resampled.points_per_stroke.tolist() == [5]


def test_resampling_steps_round_a_corner_without_stopping_at_it() -> None:
    resampled = resample(strokes([[[0, 1.5, 1.5], [0, 0, 1.5]]]))
    assert resampled.points.tolist() == [[0, 0], [1, 0], [1.5, 0.5], [1.5, 1.5]]


def test_resampling_gives_a_dot_two_points_and_leaves_its_neighbours_alone() -> None:
    resampled = resample(strokes([[[0, 1], [0, 0]], [[5], [5]], [[9, 9], [0, 2]]]))
    assert resampled.points_per_stroke.tolist() == [2, 2, 3]
    assert resampled.points.tolist() == [[0, 0], [1, 0], [5, 5], [5, 5], [9, 0], [9, 1], [9, 2]]


def test_a_point_two_pixels_off_the_line_goes_and_one_further_off_stays() -> None:
    reduced = reduce_points(strokes([[[0, 10, 20], [0, 2, 0]], [[0, 10, 20], [0, 2.1, 0]]]))
    assert reduced.points.tolist() == [[0, 0], [20, 0], [0, 0], [10, 2.1], [20, 0]]
    assert reduced.points_per_stroke.tolist() == [2, 3]
    assert reduced.strokes_per_drawing.tolist() == [2]


def test_a_closed_line_is_measured_from_the_point_where_it_closes() -> None:
    square = [[0, 10, 10, 0, 0], [0, 0, 10, 10, 0]]
    assert reduce_points(strokes([square])).points.tolist() == [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]


def test_simplifying_aligns_scales_and_rounds() -> None:
    simplified = simplify(strokes([[[-10, 92], [5, 5]], [[-10, 41], [5, 25]]]))
    # 255 / 102 = 2.5: 51 * 2.5 = 127.5 and 20 * 2.5 = 50
    assert simplified.points.tolist() == [[0, 0], [255, 0], [0, 0], [128, 50]]


def test_halves_are_rounded_to_even_as_google_does() -> None:
    simplified = simplify(strokes([[[0, 102], [0, 0]], [[0, 1], [0, 3]]]))
    assert simplified.points.tolist() == [[0, 0], [255, 0], [0, 0], [2, 8]]  # 2.5 and 7.5


def test_a_dot_is_one_step_whether_it_comes_as_one_point_or_as_two() -> None:
    steps, lengths = canonical_steps(strokes([[[0, 255], [0, 0]], [[7], [9]]], [[[0, 255], [0, 0]], [[7, 7], [9, 9]]]))
    assert lengths.tolist() == [3, 3]
    assert steps[:3].tolist() == steps[3:].tolist() == [[0, 0, 0], [255, 0, 1], [7, 9, 1]]


def test_place_and_size_on_the_canvas_do_not_matter() -> None:
    generator = np.random.default_rng(3)
    xs, ys = np.cumsum(generator.normal(0, 9, (2, 80)), axis=1)
    drawing = [[xs.tolist(), ys.tolist()]]
    moved = [[(4 * xs - 1000).tolist(), (4 * ys + 17).tolist()]]
    steps, lengths = canonical_steps(strokes(drawing, moved))
    assert lengths[0] == lengths[1]
    assert (steps[: lengths[0]] == steps[lengths[0] :]).all()


def test_a_drawing_does_not_depend_on_the_ones_beside_it() -> None:
    generator = np.random.default_rng(4)
    some = generator.uniform(0, 500, (5, 3, 2, 20)).tolist()
    together, lengths = canonical_steps(strokes(*some))
    for one, steps in zip(some, np.split(together, np.cumsum(lengths)[:-1]), strict=True):
        assert (canonical_steps(strokes(one))[0] == steps).all()
    alone = resample(strokes(some[0])).points
    behind = resample(strokes(*some, some[0])).points[-len(alone) :]
    assert (behind == alone).all()  # to the last bit: it decides between points that are equally far


def test_strokes_are_taken_by_drawing_in_any_order() -> None:
    all_three = strokes([[[1], [1]]], [[[2, 3], [2, 3]], [[4], [4]]], [[[5], [5]]])
    some = all_three.take(np.array([2, 1]))
    assert some.points[:, 0].tolist() == [5, 2, 3, 4]
    assert some.points_per_stroke.tolist() == [1, 2, 1]
    assert some.strokes_per_drawing.tolist() == [1, 2]


@cache
def pairs() -> list[tuple[object, list[list[list[float]]]]]:
    """Raw drawings beside what Google made of them, by key_id."""
    found: list[tuple[object, list[list[list[float]]]]] = []
    for raw_file in sorted((QUICKDRAW / "full" / "raw").glob("*.ndjson")):
        simplified_file = QUICKDRAW / "full" / "simplified" / raw_file.name
        if simplified_file.is_file():
            raw, simplified = (by_key(path) for path in (raw_file, simplified_file))
            found.extend((raw[key], simplified[key]) for key in sorted(raw.keys() & simplified.keys()))
    return found


def by_key(path: Path) -> dict[str, list[list[list[float]]]]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {record["key_id"]: record["drawing"] for record in records}


@needs_data
def test_raw_drawings_simplify_to_what_google_made_of_them_point_for_point() -> None:
    both = pairs()
    assert len(both) > 1000
    made = simplify(strokes(*[raw for raw, _ in both])).nested()
    equal = [ours == drawing for ours, (_, drawing) in zip(made, both, strict=True)]
    assert np.mean(equal) > 0.999  # 1,693 of 1,694


@needs_data
def test_raw_and_simplified_files_of_a_drawing_give_the_same_sequence() -> None:
    both = pairs()
    raw, simplified, offsets = (
        canonicalize(parsed, max_points=1000)
        for parsed in (
            parse(raw for raw, _ in both),
            parse(drawing for _, drawing in both),
            parse((as_stroke_3(drawing) for _, drawing in both), stroke_3),
        )
    )
    equal = [a.tolist() == b.tolist() for a, b in zip(raw.sequences(), simplified.sequences(), strict=True)]
    assert np.mean(equal) > 0.999
    assert (offsets.steps == simplified.steps).all()


def as_stroke_3(drawing: list[list[list[float]]]) -> np.ndarray:
    """As sketch-rnn's `lines_to_strokes` writes it: offsets, and no row for the first point."""
    rows = [(x, y, k == len(xs) - 1) for xs, ys in drawing for k, (x, y) in enumerate(zip(xs, ys, strict=True))]
    array = np.array(rows, dtype=np.int16)
    array[1:, :2] = np.diff(array[:, :2], axis=0)
    return array[1:]


def as_sketch_rnn_file(raw: object) -> np.ndarray:
    """As sketch-rnn's files hold a drawing: whole numbers, reduced in the canvas's pixels, not moved, not scaled."""
    drawn = strokes(raw)
    (drawing,) = reduce_points(replace(drawn, points=np.rint(drawn.points))).nested()
    return as_stroke_3(drawing)


@needs_data
def test_the_form_of_a_file_cannot_be_told_from_its_sequences() -> None:
    """Each drawing comes in one form alone; what is learned about forms from one half is asked of the other half."""
    both = [pairs()[k] for k in np.random.default_rng(1).permutation(len(pairs()))]
    thirds = [both[k::3] for k in range(3)]
    parsed = [
        parse(raw for raw, _ in thirds[0]),
        parse(drawing for _, drawing in thirds[1]),
        parse((as_sketch_rnn_file(raw) for raw, _ in thirds[2]), stroke_3),
    ]
    stored = [canonicalize(some, max_points=1000).sequences() for some in parsed]
    assert accuracy_of_telling_apart(stored) < 0.40  # chance is 1/3, and its standard error 0.016
    unsimplified = [points_as_they_are(some.strokes) for some in parsed]
    assert accuracy_of_telling_apart(unsimplified) > 0.75


def points_as_they_are(drawings: Strokes) -> list[np.ndarray]:
    """Sequences of drawings that are but aligned and scaled."""
    scaled = align_and_scale(drawings)
    steps = np.zeros((len(scaled.points), 3))
    steps[:, :2] = np.rint(scaled.points)
    steps[np.cumsum(scaled.points_per_stroke) - 1, 2] = 1
    return np.split(steps, np.cumsum(scaled.points_per_drawing)[:-1])


def accuracy_of_telling_apart(kinds: list[list[np.ndarray]]) -> float:
    """The mean over kinds of the accuracy, on every second sequence, of a linear classifier fitted to the others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    facts = np.array([statistics(steps) for kind in kinds for steps in kind])
    labels = np.repeat(np.arange(len(kinds)), [len(kind) for kind in kinds])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    told = model.fit(facts[::2], labels[::2]).predict(facts[1::2]) == labels[1::2]
    return float(np.mean([told[labels[1::2] == kind].mean() for kind in range(len(kinds))]))


def statistics(steps: np.ndarray) -> list[float]:
    """What may give a form away: numbers of points, lengths and directions of steps, turns, outermost pixels."""
    points, pen = steps[:, :2].astype(float), steps[:, 2]
    way = np.diff(points, axis=0)
    drawn = way[pen[:-1] == 0] if (pen[:-1] == 0).any() else np.zeros((1, 2))
    lengths = np.hypot(*drawn.T)
    direction = np.arctan2(drawn[:, 1], drawn[:, 0])
    turns = np.abs(np.angle(np.exp(1j * np.diff(direction, append=direction[-1]))))
    return [
        *(len(steps), pen.sum(), len(steps) / pen.sum(), lengths.sum()),
        *(lengths.mean(), np.median(lengths), lengths.std(), lengths.min(), lengths.max()),
        *((lengths < 3).mean(), (lengths < 6).mean(), (turns > 2).mean(), turns.mean(), np.median(turns)),
        *((drawn == 0).any(axis=1).mean(), (np.abs(drawn) == 1).any(axis=1).mean(), (points % 2).mean()),
        *((points == 0).any(axis=1).mean(), (points == 255).any(axis=1).mean(), points.max(axis=0).min()),
    ]


@pytest.mark.parametrize(
    ("lifted", "strokes"),
    [([0, 1, 0, 1], [2, 2]), ([0, 1, 0, 0], [2, 2]), ([1, 1, 1, 1], [1, 1, 1, 1]), ([0] * 4, [4])],
)
def test_strokes_of_a_drawing_end_with_a_lifted_pen_or_with_the_drawing(lifted: list[int], strokes: list[int]) -> None:
    steps = np.column_stack([np.arange(8).reshape(4, 2), lifted])
    found = strokes_of(steps)
    assert list(map(len, found)) == strokes
    assert np.array_equal(np.concatenate(found), steps[:, :2])

"""What is done with drawings that are not as they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.tasks.sketch.data.canonical import CanonicalDrawings, canonicalize
from stages.tasks.sketch.data.parse import MAX_INPUT_POINTS, parse, stroke_3

GOOD = [[[0, 255, 100], [0, 0, 80]]]


def read(*drawings: object, max_points: int = 100) -> CanonicalDrawings:
    return canonicalize(parse(drawings), max_points=max_points)


@pytest.mark.parametrize(
    ("drawing", "rule"),
    [
        (None, "malformed_drawing"),
        ("[[0]]", "malformed_drawing"),
        ({}, "malformed_drawing"),
        ([[[0, 1]]], "malformed_drawing"),
        ([[[0, 1], [0, 1], [0, 1], [0, 1]]], "malformed_drawing"),
        ([[[0, 1], [0]]], "malformed_drawing"),
        ([[[0, 1], [0, 1], [5]]], "malformed_drawing"),
        ([[[0, "1"], [0, 1]]], "malformed_drawing"),
        ([[[0, None], [0, 1]]], "malformed_drawing"),
        ([[[0, [1]], [0, 1]]], "malformed_drawing"),
        ([[[0, 2**70], [0, 1]]], "malformed_drawing"),
        ([[[0, 1], [0, 1], [0, "a"]]], "malformed_drawing"),
        ([[[0, 1], [0, 1], [0, 1]], [[0, 1], [0, 1]]], "malformed_drawing"),
        ([7], "malformed_drawing"),
        ([], "no_points"),
        ([[[], []]], "no_points"),
        ([[[0, math.nan], [0, 1]]], "not_finite"),
        ([[[0, math.inf], [0, 1]]], "not_finite"),
        ([[[0, 1e300], [0, 1]]], "coordinate_too_large"),
        ([[[4], [4]]], "no_extent"),
        ([[[4, 4], [4, 4]], [[4], [4]]], "no_extent"),
        ([[[0, 255] * 300, [0, 255] * 300]], "too_much_ink"),
        ([[[0, 255, 128] * 70, [0, 0, 255] * 70]], "too_many_points"),
        ([[[0] * (MAX_INPUT_POINTS + 1)] * 2], "too_many_points"),
    ],
)
def test_a_bad_drawing_is_refused_by_its_rule_and_its_neighbours_are_not(drawing: object, rule: str) -> None:
    found = read(GOOD, drawing, GOOD)
    assert {number: error.rule for number, error in found.bad.items()} == {1: rule}
    assert found.good.tolist() == [0, 2]
    assert [steps.tolist() for steps in found.sequences()] == [[[0, 0, 0], [255, 0, 0], [100, 80, 1]]] * 2


def test_several_bad_drawings_of_different_kinds_are_all_found_at_once() -> None:
    found = read([[["a"], [0]]], GOOD, [], [[[math.nan, 1], [0, 1]]], None, [[[1], [1]]])
    assert [found.bad[number].rule for number in sorted(found.bad)] == [
        "malformed_drawing",
        "no_points",
        "not_finite",
        "malformed_drawing",
        "no_extent",
    ]
    assert found.good.tolist() == [1]


@pytest.mark.parametrize(
    ("drawing", "rule"),
    [
        ([[[0, 255], [0, 0]], [[], []]], "empty_stroke"),
        ([[[0, 255], [0, 0]], [[9], [9]]], "one_point_stroke"),
        ([[[-5, 250], [0, 0]]], "negative_coordinates"),
        ([[[0, 255, 9], [0, 0, 9], [0, 20, 10]]], "time_backwards"),
        ([[[0, 255], [0, 0], [5, 9]], [[3, 9], [3, 90], [8, 9]]], "time_backwards"),
    ],
)
def test_a_drawing_that_can_be_mended_is_kept_and_counted(drawing: object, rule: str) -> None:
    found = read(GOOD, drawing)
    assert found.good.tolist() == [0, 1]
    assert found.repaired == {rule: [1]}


def test_simplified_coordinates_are_parsed_as_others_are() -> None:
    drawing = [[[0, 255, 7], [0, 3, 9]], [[1], [2]]]
    floats = [[[float(value) for value in part] for part in stroke] for stroke in drawing]
    one, other = (parse([each, each]).strokes for each in (drawing, floats))
    for name in ("points", "points_per_stroke", "strokes_per_drawing"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert one.points.flags.c_contiguous


def test_times_of_one_drawing_are_not_compared_with_those_of_the_next() -> None:
    timed = [[[0, 255], [0, 9], [100, 200]]]
    assert read(timed, timed).repaired == {}


def test_bad_stroke_3_arrays_are_refused() -> None:
    good = np.array([[10, 0, 0], [0, 5, 1]], dtype=np.int16)
    arrays: list[np.ndarray] = [
        good,
        np.zeros((0, 3)),
        np.zeros((4, 2)),
        np.array([[1, 1, 7]]),
        np.array([[np.nan, 1, 1]]),
        np.zeros((3, 3)),
    ]
    found = canonicalize(parse(arrays, stroke_3), max_points=100)
    assert {number: error.rule for number, error in found.bad.items()} == {
        1: "no_points",
        2: "malformed_drawing",
        3: "malformed_drawing",
        4: "not_finite",
        5: "no_extent",
    }
    assert found.steps.tolist() == [[0, 0, 0], [255, 0, 0], [255, 128, 1]]

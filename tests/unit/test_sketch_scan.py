"""What is read straight from the bytes is what JSON says, and everything else is left to JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stages.tasks.sketch.data.parse import MAX_INPUT_POINTS, parse
from stages.tasks.sketch.data.quickdraw import RawFile, Records
from stages.tasks.sketch.data.scan import scan


def test_scanned_drawings_are_what_json_says() -> None:
    generator = np.random.default_rng(1)
    drawings = [
        [generator.integers(0, 1000, (2, generator.integers(1, 9))).tolist() for _ in range(generator.integers(1, 5))]
        for _ in range(20)
    ]
    found = scan([json.dumps(drawing, separators=(",", ":")).encode() + b"}" for drawing in drawings])
    expected = parse(drawings).strokes
    assert found is not None
    for name in ("points", "points_per_stroke", "strokes_per_drawing"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype
        assert (one == other).all()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "}",
            "[]}",
            "[[]]}",
            "[[[],[]]]}",
            "null}",
            "[[[1],[2]]]",
            "[[[1],[2]]]}}",
            "[[[1],[2]]]} ",
            "[[[1],[2]],]}",
        ),
        *("[[[1],[2]]", "[[[1],[2", "[[[1],[2]", "[[[1,],[2,]]]}", "[[[,1],[2]]]}", "[[[1 ],[2]]]}", "[[[1], [2]]]}"),
        *("[[[01],[2]]]}", "[[[-1],[2]]]}", "[[[1.5],[2]]]}", "[[[1e1],[2]]]}", "[[[1],[2],[3]]]}", "[[[1,2],[3]]]}"),
        *('[[["1"],[2]]]}', "[[[1234567],[2]]]}", "[[[1],[2]]],}", '[[[1],[2]]],"word":"cat"}', "[[1],[2]]}"),
        f"[[[{'1,' * MAX_INPUT_POINTS}1],[{'1,' * MAX_INPUT_POINTS}1]]]}}",
    ],
)
def test_what_is_written_otherwise_is_not_scanned(text: str) -> None:
    good = b"[[[0],[10]],[[100],[3]]]}"
    assert scan([good]) is not None
    assert scan([good, text.encode()]) is None
    assert scan([text.encode(), good]) is None


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('{"key_id":"1","drawing":[[[0,9],[0,9]]]}', "1"),
        ('{"drawing":[[[0,9],[0,9]]],"key_id":"1"}', "1"),
        ('{"key_id":"1","drawing":[[[5,9],[0,9]]],"drawing":[[[0,9],[0,9]]]}', "1"),
        ('{"key_id":",\\"drawing\\":","drawing":[[[0,9],[0,9]]]}', ',"drawing":'),
    ],
)
def test_a_line_means_what_json_says_wherever_its_drawing_stands(tmp_path: Path, line: str, key: str) -> None:
    records = _records(tmp_path, line)
    assert records.keys == [key]
    assert records.drawings.strokes.points.tolist() == [[0, 0], [9, 9]]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('{"key_id":{"a":1,"drawing":[[[0,9],[0,9]]]}', "not_json"),
        ('{"key_id":{"a":1,"drawing":[[[0,9],[0,9]]]}}', "malformed_drawing"),
        ('["key_id":"1","drawing":[[[0,9],[0,9]]]}', "not_json"),
        ('{"key_id":"1,"drawing":[[[0,9],[0,9]]]}', "not_json"),
    ],
)
def test_a_drawing_that_is_none_of_its_lines_is_not_taken(tmp_path: Path, line: str, rule: str) -> None:
    assert [error.rule for error in _records(tmp_path, line).drawings.bad.values()] == [rule]


def _records(folder: Path, line: str) -> Records:
    path = folder / "cat.ndjson"
    path.write_text(line + "\n", encoding="utf-8")
    (chunk,) = RawFile(path, "simplified", "cat").chunks()
    (records,) = chunk.records(chunk.content())
    return records

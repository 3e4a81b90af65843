"""CSV in and out: no quotation mark swallows a line, and no value breaks a row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from stages.data.csv_rows import row_writer, rows
from stages.evaluation.report import Report


@pytest.mark.parametrize("several_lines", [False, True])
def test_rows_are_as_csv_reads_them(several_lines: bool) -> None:
    lines = ["a;b\r\n", "\n", '"x;""y""";2\n', "3;4;;\r", "5;"]
    found = list(rows(lines, ";", several_lines=several_lines))
    assert [(row.number, row.cells, row.fault) for row in found] == [
        (1, ["a", "b"], None),
        (3, ['x;"y"', "2"], None),
        (4, ["3", "4"], None),
        (5, ["5", ""], None),
    ]


def test_a_quotation_mark_that_is_left_open_is_its_lines_fault_alone() -> None:
    found = list(rows(["a,b\n", '"1,2\n', "3,4\n", '5,"6\n', '"7"8,9\n', "1,2,3\n", "1\n"]))
    assert [row.number for row in found if row.fault is None] == [1, 3]
    assert [str(row.fault).split("; allowed")[0] for row in found if row.fault] == [
        "found a value that spans several lines",
        "found a value that spans several lines",
        "found text after a closing quotation mark",
        "found 3 values for 2 columns",
        "found 1 values for 2 columns",
    ]


def test_a_value_of_several_lines_is_read_where_it_is_allowed_unless_nothing_closes_it() -> None:
    found = list(rows(["a,b\n", '"1\n', '2",3\n', '"4,5\n', "6,7\n"], several_lines=True))
    assert [(row.number, row.cells) for row in found] == [(1, ["a", "b"]), (3, ["1\n2", "3"]), (5, [])]
    assert found[-1].fault is not None


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\r\nb", "\r", 'a"\r'])
def test_no_value_breaks_a_row(value: str, tmp_path: Path) -> None:
    file = io.StringIO(newline="")
    row_writer(file).writerows([["a", value, 1], ["b", "c", 2]])
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [["a", value, "1"], ["b", "c", "2"]]
    assert file.getvalue().endswith("\nb,c,2\n")
    report = Report(tmp_path)
    report.write_predictions([value, "x"], ["y", value])
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as written:
        assert list(csv.reader(written)) == [["actual", "predicted"], [value, "y"], ["x", value]]

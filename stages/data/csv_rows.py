"""Rows of CSV files, in and out: nothing is swallowed by a quotation mark, and no value breaks a row.

`csv` reads a value with an opening quotation mark on to the next one, thousands of lines further, and joins what
stands behind a closing one to the value. Here both are a row's fault.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

_OPEN, _AFTER = "unexpected end of data", "expected after"  # in csv's own words


class Row(NamedTuple):
    """A row; one with a `fault` has no cells."""

    number: int  # of the line that it ends in, from 1
    cells: list[str]
    text: str  # what stands there, to show it; empty for a fault that goes over lines
    fault: str | None  # what was found, and what is allowed


def rows(lines: Iterable[str], delimiter: str = ",", *, several_lines: bool = False) -> Iterator[Row]:
    """The rows of a CSV, each as wide as the first, which is the header; empty lines and empty further cells are passed
    over. A row is a line, and a value of `several_lines` a fault unless they are allowed.
    """
    found = _of_several_lines(lines, delimiter) if several_lines else _of_a_line(lines, delimiter)
    width = 0
    for row in found:
        width = width or len(row.cells)
        if row.fault is None and len(row.cells) != width:
            while len(row.cells) > width and not row.cells[-1].strip():
                row.cells.pop()
            if len(row.cells) != width:
                quotes = f" (quote a value that contains {delimiter!r})" if len(row.cells) > width else ""
                fault = f"found {len(row.cells)} values for {width} columns; allowed: one per column{quotes}"
                row = row._replace(cells=[], fault=fault)
        yield row


def row_writer(file: IO[str]) -> Any:
    """A writer of rows that end in a line feed, with quotes around a value that holds a carriage return.

    Until Python 3.13 `csv` puts them there only where one ends the rows, and readers take one without them for the end
    of a row.
    """
    return csv.writer(_LineFeeds(file), lineterminator="\r\n")


class _LineFeeds:
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _of_a_line(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if not text:
            continue
        if '"' not in text:
            yield Row(number, text.split(delimiter), text, None)
            continue
        try:
            yield Row(number, next(csv.reader((text,), delimiter=delimiter, strict=True)), text, None)
        except csv.Error as error:
            open_ = "a value that spans several lines; allowed: one line per row (is a closing quotation mark missing?)"
            yield Row(number, [], text, _fault(error, open_))


def _of_several_lines(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:  # the next row begins with the next line
            open_ = f"a quotation mark opened in line {begin} and never closed; allowed: one on each side of a value"
            yield Row(reader.line_num, [], "", _fault(error, open_))
            continue
        if cells is None:
            return
        if cells:
            yield Row(reader.line_num, cells, delimiter.join(cells), None)


def _fault(error: csv.Error, open_: str) -> str:
    if _OPEN in str(error):
        return f"found {open_}"
    if _AFTER in str(error):
        return "found text after a closing quotation mark; allowed: quotes around a whole value, doubled within it"
    return f"found text that is not valid CSV: {error}"

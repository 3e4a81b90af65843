"""The raw files of daily series as they stood at the end of a day.

What is cut is the file and not the prepared series: a gap, a contradiction or a line that is no number changes, once it
is there, what becomes of earlier days, and on those days nobody knew of it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

from stages.data.csv_rows import Row, rows
from stages.data.text import open_text
from stages.tasks.forecast.data.series import HORIZON, Rejection, day_number
from stages.tasks.forecast.params import PrepareParams
from stages.tasks.forecast.prepare.readers import TSF_DATE, day_parser, tsf_fields, tsf_header

_MARK = "utf-8-sig"  # a byte order mark decides, whatever `prepare.encoding` says


class _Line(NamedTuple):
    """A line of a CSV, which tells of one day."""

    first: int
    told: str
    foretold: str  # without what is not known ahead
    absent: str = ""

    @property
    def last(self) -> int:
        return self.first

    def until(self, day: int) -> str:
        return self.told if self.first <= day else self.foretold


class _Values(NamedTuple):
    """A line of a .tsf, which tells of a value a day. Lines keep their numbers: a series may be named after its own."""

    first: int
    attributes: str
    values: list[str]
    skipped: int  # lines before it that are left out

    @property
    def last(self) -> int:
        return self.first + len(self.values) - 1

    @property
    def absent(self) -> str:
        return "\n" * (self.skipped + 1)

    def until(self, day: int) -> str:
        known = ",".join(self.values[: day - self.first + 1])
        return "\n" * self.skipped + f"{self.attributes}:{known}\n"


class _File(NamedTuple):
    """A file in its order."""

    head: list[str]  # what stands before the first line with a day, with line ends
    lines: list[_Line] | list[_Values]


class RawFiles:
    """The `.csv` and `.tsf` files of a raw folder, in memory; days are numbers since 1970-01-01.

    Lines without a readable day belong to no day: they are left out of all, and counted in `undated`; the first of them
    is in `example`. Raises ValueError for a folder without such files, and for a file that preprocess could not read.
    """

    def __init__(self, folder: Path, params: PrepareParams) -> None:
        self._params = params
        self.undated, self.example = 0, ""
        readers = {".csv": self._read_csv, ".tsf": self._read_tsf}
        paths = sorted(path for path in folder.glob("*") if path.suffix in readers)
        if not paths:
            raise ValueError(f"{folder}: found no .csv or .tsf; allowed: what `dvc repro download@forecast` fetches")
        self._files = {path.name: readers[path.suffix](path) for path in paths}

    @property
    def last_day(self) -> int:
        """The last day that any line tells of."""
        return max((line.last for file in self._files.values() for line in file.lines), default=day_number(date.min))

    def write(self, day: int, folder: Path) -> None:
        """Write the files as they stood at the end of a day into a new folder. What `known_columns` say of the seven
        days after it was known on it, and stays.
        """
        folder.mkdir(parents=True)
        last = day + (HORIZON if self._params.known_columns else 0)
        for name, file in self._files.items():
            texts = [line.until(day) if line.first <= last else line.absent for line in file.lines]
            (folder / name).write_text("".join([*file.head, *texts]), encoding=_MARK, newline="")

    def _miss(self, path: Path, line: int, reason: object) -> None:
        self.undated += 1
        self.example = self.example or f"{path.name}, line {line}: {reason}"

    def _read_csv(self, path: Path) -> _File:
        to_day = day_parser(self._params.date_format)
        lines: list[_Line] = []
        with open_text(path, self._params.encoding) as text:
            found = rows(text.checked(), self._params.delimiter)
            header = next(found, None)
            names = [cell.strip() for cell in header.cells] if header else []
            dates = self._columns(path, names)
            for row in found:
                try:
                    if row.fault:
                        raise Rejection("columns", row.fault)
                    day = to_day("-".join(row.cells[place].strip() for place in dates))
                except Rejection as error:
                    self._miss(path, row.number, error)
                    continue
                lines.append(_Line(day, f"{row.text}\n", self._foretold(names, row)))
        return _File([f"{header.text}\n"] if header else [], lines)

    def _columns(self, path: Path, names: list[str]) -> list[int]:
        """Where the dates stand. Raises ValueError where they do not."""
        if missing := [name for name in self._params.date_columns if name not in names]:
            found = f"{missing[0]!r} (prepare.date_columns) is not a column"
            raise ValueError(f"{path.name}: {found}; the header is {', '.join(names)[:400]}")
        return [names.index(name) for name in self._params.date_columns]

    def _foretold(self, names: list[str], row: Row) -> str:
        """A row as it is known before its day; empty where nothing is."""
        if not self._params.known_columns:
            return ""
        unknown = {*self._params.value_columns, *self._params.past_columns}
        cells = ["" if name in unknown else cell for name, cell in zip(names, row.cells, strict=True)]
        out = io.StringIO()
        csv.writer(out, delimiter=self._params.delimiter, lineterminator="\n").writerow(cells)
        return out.getvalue()

    def _read_tsf(self, path: Path) -> _File:
        to_day = day_parser(TSF_DATE)
        head: list[str] = []
        found: list[_Values] = []
        with open_text(path, self._params.encoding) as text:
            lines = enumerate(text.checked(), start=1)
            kinds, name_at, start_at = tsf_header(path, _noted(lines, head))
            before = len(head)
            for number, line in lines:
                if not line.strip() or line.startswith("#"):
                    continue
                fields = tsf_fields(line.strip(), kinds, name_at)
                try:
                    if len(fields) != len(kinds) + 1:
                        raise Rejection("columns", f"{len(fields)} fields separated by colons, not {len(kinds) + 1}")
                    first = to_day(fields[start_at])
                except Rejection as error:
                    self._miss(path, number, error)
                    continue
                found.append(_Values(first, ":".join(fields[:-1]), fields[-1].split(","), number - before - 1))
                before = number
        return _File(head, found)


def _noted(lines: Iterator[tuple[int, str]], head: list[str]) -> Iterator[tuple[int, str]]:
    """The lines; each is also put into `head` once it is asked for."""
    for number, line in lines:
        head.append(line if line.endswith("\n") else f"{line}\n")
        yield number, line

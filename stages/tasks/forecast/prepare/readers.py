"""Readers of daily series: any CSV, and the .tsf files of the Monash repository.

Each yields observations one by one and never stops at a bad one: it yields a BadRecord with the reason. A file that
cannot be read at all raises ValueError.
Format of .tsf: Godahewa et al., "Monash Time Series Forecasting Archive", 2021, https://forecastingdata.org
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import get_args

from ....data.csv_rows import Row, rows
from ....data.text import AUTO, open_text
from ..data.numbers import MISSING, PLAIN, Notation
from ..data.series import MAX_MAGNITUDE, MAX_YEAR, MIN_YEAR, Rejection, day_number, series_name
from ..params import Delimiter, PrepareParams
from .doubts import Fractions
from .names import Names

TSF_DATE = "%Y-%m-%d %H-%M-%S"


@dataclass(frozen=True, slots=True)
class Observation:
    """One value of one series on one day; NaN where the file says that it is missing."""

    series: str
    day: int  # days since 1970-01-01
    value: float
    covariates: tuple[float, ...] = ()  # of known_columns, then of past_columns; NaN where missing


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is set aside: `rule` is the short name it is counted under."""

    id: str  # where it stands, such as "line 12"
    rule: str
    reason: str
    content: str
    values: int  # how many were lost with it
    rows: int = 0  # how many whole series
    series: tuple[str, ...] = ()  # whose values they are, where that is known


@dataclass(frozen=True, slots=True)
class Doubt:
    """Values that are kept though they look misread: how many, and the first with what to set."""

    rule: str
    count: int
    example: str


def read_csv(path: Path, params: PrepareParams, names: Names) -> Iterator[Observation | BadRecord | Doubt]:
    """The observations of a CSV with a header line; one column of values or several, one series or many (`id_column`).

    A series is named by its id, by its column of values, or by both (`id/column`) where there are several of each. A
    line is a row. One that is none (a quotation mark left open, too few or too many values) is a BadRecord, as is one
    without an id, and one whose `known_columns` or `past_columns` hold anything but numbers and marks of missing ones.
    """
    reader = _CsvReader(path, params, names)
    with open_text(path, params.encoding) as file:
        header: list[str] | None = None
        for row in rows(file.checked(), params.delimiter):
            if header is None:
                if row.fault:
                    raise ValueError(f"{path.name}: line {row.number}: {row.fault}")
                header = [name.strip() for name in row.cells]
                _check_header(path, header, params)
            elif row.fault:
                yield BadRecord(f"line {row.number}", "columns", row.fault, row.text, len(params.value_columns))
            else:
                yield from reader.read(row, dict(zip(header, row.cells, strict=True)))
        if header is None:
            _check_header(path, [], params)
    yield from reader.doubts()


class _CsvReader:
    """What is known from one row of a CSV to the next."""

    def __init__(self, path: Path, params: PrepareParams, names: Names) -> None:
        self._path, self._params, self._names = path, params, names
        self._to_day, self._notation = day_parser(params.date_format), Notation(params.decimal, params.thousands)
        self._owners = {name: f"the column {name}" for name in params.value_columns}
        self._fractions = {name: Fractions(self._notation) for name in params.value_columns}
        self._spelled_otherwise, self._first_spelling = 0, ""

    def read(self, row: Row, cells: Mapping[str, str]) -> Iterator[Observation | BadRecord]:
        """The observations of one row, by its cells."""
        params, where, series = self._params, f"line {row.number}", dict[str, str]()
        try:
            id = series_name(params.id_column, cells[params.id_column]) if params.id_column else ""
            series = {name: self._series(id, name) for name in params.value_columns}
            day = self._to_day("-".join(cells[name].strip() for name in params.date_columns))
            covariates = tuple(
                _number("covariate", cells[name], self._notation, name)
                for name in (*params.known_columns, *params.past_columns)
            )
        except Rejection as error:
            lost = len(params.value_columns)
            yield BadRecord(where, error.rule, str(error), row.text, lost, series=tuple(series.values()))
            return
        if id and not self._names.as_before(id, cells[params.id_column]):
            self._spelled_otherwise += len(series)
            self._first_spelling = self._first_spelling or f"{where}: {cells[params.id_column]!r} is read as {id!r}"
        for name, own in series.items():
            try:
                self._names.claim(own, self._owners[name])
                value = _number("value", cells[name], self._notation, name)
            except Rejection as error:
                yield BadRecord(where, error.rule, str(error), row.text, 1, series=(own,))
                continue
            if not math.isnan(value):
                self._fractions[name].add(cells[name], value, where)
            yield Observation(own, day, value, covariates)

    def _series(self, id: str, column: str) -> str:
        return column if not id else f"{id}/{column}" if len(self._owners) > 1 else id

    def doubts(self) -> Iterator[Doubt]:
        """What looks misread, once all is read."""
        if self._spelled_otherwise:
            yield Doubt("id_spelled_otherwise", self._spelled_otherwise, f"{self._path.name}: {self._first_spelling}")
        for name, found in self._fractions.items():
            if found.doubt:
                yield Doubt("fraction_like_thousands", found.count, f"{self._path.name}: {name}: {found.doubt}")


def read_tsf(path: Path, names: Names, encoding: str = AUTO) -> Iterator[Observation | BadRecord]:
    """The observations of a daily .tsf, whose series each state the date they start. Names may hold colons where they
    are the only text among the attributes. A series is a line: another one of its name is a BadRecord.
    """
    to_day = day_parser(TSF_DATE)
    with open_text(path, encoding) as file:
        lines = enumerate(file.checked(), start=1)
        kinds, name_at, start_at = tsf_header(path, lines)
        for number, line in lines:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            where = f"line {number}"
            fields = tsf_fields(text, kinds, name_at)
            values = fields[-1].split(",")
            try:
                if len(fields) != len(kinds) + 1:
                    allowed = f"allowed: {len(kinds)} attributes and the values"
                    raise Rejection("columns", f"{len(fields)} fields separated by colons; {allowed}")
                name = _tsf_name(path, number, None if name_at is None else fields[name_at], names)
                day = to_day(fields[start_at])
                if day + len(values) > day_number(datetime(MAX_YEAR, 12, 31)):
                    found = f"{len(values)} days from {fields[start_at]}"
                    raise Rejection("date", f"{found}; allowed: up to the year {MAX_YEAR}")
            except Rejection as error:
                lost = _count_numbers(text) if error.rule == "columns" else len(values)
                yield BadRecord(where, error.rule, str(error), text, lost, 1)
                continue
            for offset, value in enumerate(values):
                try:
                    yield Observation(name, day + offset, _number("value", value, PLAIN))
                except Rejection as error:
                    place = f"{where}, value {offset + 1}"
                    yield BadRecord(place, error.rule, str(error), name, 1, series=(name,))


def _tsf_name(path: Path, number: int, text: str | None, names: Names) -> str:
    """The name of the series in a line. Raises Rejection where another line has it, or where it is missing."""
    if text is not None:
        name = series_name("series_name", text)
    else:
        name = f"T{number}"
        if not names.is_free(name):  # the other file's
            name = f"{path.stem}/{name}"
    names.claim(name, f"{path.name}, line {number}")
    return name


def _count_numbers(text: str) -> int:
    """How many values a line holds whose fields cannot be told apart, at least one."""
    words = re.split(r"[\s,:;|]+", text)
    return max(1, sum(word.lower() in MISSING - {""} or PLAIN.parse(word) is not None for word in words))


def _number(rule: str, text: str, notation: Notation, column: str = "") -> float:
    """A number, or NaN for a mark of a missing one. Raises a Rejection by `rule` for anything else and for infinity."""
    where = f"{column}: " if column else ""
    stripped = text.strip()
    if stripped.lower() in MISSING:
        return math.nan
    value = notation.parse(stripped)
    if value is None:
        raise Rejection(rule, f"{where}found {text[:40]!r}; allowed: a number{notation.hint(stripped)}")
    if not abs(value) <= MAX_MAGNITUDE:
        raise Rejection(rule, f"{where}found {value}; allowed: numbers up to ±{MAX_MAGNITUDE:g}")
    return value


def tsf_fields(text: str, kinds: Sequence[str], name_at: int | None) -> list[str]:
    """The attributes of a series and its values; further colons belong to the name, if nothing else may hold them."""
    fields = text.split(":")
    further = len(fields) - len(kinds) - 1
    if further > 0 and name_at is not None and kinds.count("string") == 1:
        fields[name_at : name_at + further + 1] = [":".join(fields[name_at : name_at + further + 1])]
    return fields


def tsf_header(path: Path, lines: Iterator[tuple[int, str]]) -> tuple[list[str], int | None, int]:
    """The kinds of the attributes, which of them is the name, which the start; reads up to and with `@data`."""
    attributes: list[tuple[str, str]] = []
    frequency = ""
    for _, line in lines:
        match line.lower().split():
            case ["@attribute", name, kind]:
                attributes.append((name, kind))
            case ["@frequency", frequency]:
                pass
            case ["@data", *_]:
                break
    else:
        raise ValueError(f"{path.name}: not a .tsf: no @data line")
    if frequency != "daily":
        raise ValueError(f"{path.name}: @frequency {frequency[:40] or 'is not stated'}; allowed: daily")
    dates = [i for i, (_, kind) in enumerate(attributes) if kind == "date"]
    if not dates:
        raise ValueError(f"{path.name}: no @attribute of type date, so its series have no start date")
    names = [i for i, (name, _) in enumerate(attributes) if name == "series_name"]
    return [kind for _, kind in attributes], (names[0] if names else None), dates[0]


@lru_cache(maxsize=4)
def day_parser(date_format: str) -> Callable[[str], int]:
    """A function from text to days since 1970-01-01, which remembers days: many series have the same."""

    @lru_cache(maxsize=65536)
    def parse(text: str) -> int:
        try:
            day = datetime.strptime(text, date_format).date()
        except ValueError:
            hint = _format_hint(text, date_format)
            raise Rejection("date", f"date {text[:40]!r}; allowed: the format {date_format!r}{hint}") from None
        if not MIN_YEAR <= day.year <= MAX_YEAR:
            raise Rejection("date", f"date {text[:40]!r}; allowed: the years {MIN_YEAR} to {MAX_YEAR}")
        return day_number(day)

    return parse


def _format_hint(text: str, date_format: str) -> str:
    """The format that reads a date with day and month the other way round; empty where that reads it neither."""
    swapped = date_format.replace("%d", "%%").replace("%m", "%d").replace("%%", "%m")
    try:
        datetime.strptime(text, swapped)
    except ValueError:
        return ""
    return f"; it looks like prepare.date_format: {swapped!r}"


def _check_header(path: Path, header: list[str], params: PrepareParams) -> None:
    """Raises ValueError for a column of the params that the header has not, or more than once."""
    for key in ("date_columns", "value_columns", "id_column", "known_columns", "past_columns"):
        names = getattr(params, key)
        for name in [names] if isinstance(names, str) else names:
            if name and header.count(name) != 1:
                found = f"is a column {header.count(name)} times" if name in header else "is not a column"
                hint = "" if name in header else _delimiter_hint(name, params.delimiter.join(header))
                shown = ", ".join(header)[:400]
                raise ValueError(f"{path.name}: {name!r} (prepare.{key}) {found}; the header is {shown}{hint}")


def _delimiter_hint(name: str, line: str) -> str:
    """What to set where a column is in the header once another delimiter splits it."""
    marks = (mark for mark in get_args(Delimiter) if name in [cell.strip() for cell in line.split(mark)])
    return next((f"; it looks like prepare.delimiter: {mark!r}" for mark in marks), "")

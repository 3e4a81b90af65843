"""What a line of a source's file is, as its task says, and the records in it by their keys."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..data.text import AUTO, open_text

MAX_LINE = 2**26  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """How two versions of a file are compared.

    csv: a header, then a row a record, known by the columns of `key` · ndjson: an object a line, known by the fields of
    `key` · lines: a line a record, known by itself · tsf: a series a line, known by its attributes, whose values grow.
    """

    form: Literal["csv", "ndjson", "lines", "tsf"]
    key: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()  # csv: the columns that are a record's day, joined by "-" and written as date_format
    date_format: str = ""
    values: tuple[str, ...] = ()  # csv: the columns of values; a row in which all are missing tells of a day to come
    missing: frozenset[str] = frozenset({""})  # csv: what stands for no value, in lower case
    delimiter: str = ","
    encoding: str = AUTO


@dataclass(frozen=True, slots=True)
class Record:
    """One record: `fields` by their names, where the form has names."""

    key: str
    fields: dict[str, str] = field(default_factory=dict)
    repeats: str = ""  # the key that came before, where it did
    shown: str = ""  # the key as it stands in the file, where that is another text

    @property
    def name(self) -> str:
        """What a message calls it."""
        return self.shown or self.key

    def fingerprint(self, columns: Sequence[str] | None) -> int:
        """A hash of the fields in `columns`, or of all; of this process alone."""
        if columns is None:
            return hash(tuple(sorted(self.fields.items())))
        return hash(tuple(map(self.fields.get, columns)))


def columns_of(path: Path, how: Records) -> tuple[str, ...]:
    """The columns of a CSV, in order; none for another form. Raises ValueError where the file is no text."""
    if how.form != "csv":
        return ()
    with open_text(path, how.encoding) as file:
        return tuple(name.strip() for name in next(csv.reader(file.checked(), delimiter=how.delimiter), []))


def read_records(path: Path, how: Records) -> Iterator[Record]:
    """The records of a file in order; one whose key came before gets its number behind it, ` (2)`.

    What is no record, such as a row with too few columns, counts as one that is known by its whole text. Raises
    ValueError where the file is no text.
    """
    read = {"csv": _csv, "ndjson": _ndjson, "lines": _lines, "tsf": _tsf}[how.form]
    seen: Counter[str] = Counter()
    for record in read(path, how):
        seen[record.key] += 1
        again = seen[record.key]
        if again > 1:
            shown = record.shown and f"{record.shown} ({again})"
            record = Record(f"{record.key} ({again})", record.fields, record.key, shown)
        yield record


def _csv(path: Path, how: Records) -> Iterator[Record]:
    with open_text(path, how.encoding) as file:
        rows = csv.reader(file.checked(), delimiter=how.delimiter)
        header = [name.strip() for name in next(rows, [])]
        try:
            for row in rows:
                if len(row) == len(header):
                    cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
                    named = [cells[name] for name in how.key if name in cells]
                    if len(named) == len(how.key):
                        yield Record(_key(cells, how), cells, shown="-".join(named))
                    else:
                        yield Record(repr(row), cells)
                elif row:
                    yield Record(repr(row))
        except csv.Error as error:
            raise ValueError(f"{path.name}: line {rows.line_num}: not a CSV: {error}") from None


def _key(cells: dict[str, str], how: Records) -> str:
    """With the day as preparation reads it: 2020-1-2 and 2020-01-02 are one day."""
    day = day_of(cells, how)
    if day is None:
        return "-".join(cells[name] for name in how.key)
    return "-".join([*(cells[name] for name in how.key if name not in how.dates), day.isoformat()])


def day_of(fields: Mapping[str, str], how: Records) -> date | None:
    """A record's day; None where it has none that preparation would read."""
    if not how.dates or not all(name in fields for name in how.dates):
        return None
    return _parsed("-".join(fields[name] for name in how.dates), how.date_format)


@lru_cache(maxsize=2**16)  # each day comes once a series
def _parsed(text: str, date_format: str) -> date | None:
    try:
        return datetime.strptime(text, date_format).date()
    except ValueError:
        return None  # preprocess counts it


def has_come(fields: Mapping[str, str], how: Records) -> bool:
    """Whether a record has a value, and does not only tell what is known ahead of a day."""
    return not how.values or any(fields.get(name, "").strip().lower() not in how.missing for name in how.values)


def _ndjson(path: Path, how: Records) -> Iterator[Record]:
    import orjson

    for text in _texts(path, how):
        try:
            value: Any = orjson.loads(text)
        except ValueError:
            yield Record(text)
            continue
        if isinstance(value, dict) and all(name in value for name in how.key):
            fields = {name: str(one) for name, one in value.items()}
            yield Record("-".join(fields[name] for name in how.key), fields)
        else:
            yield Record(text)


def _lines(path: Path, how: Records) -> Iterator[Record]:
    return (Record(text) for text in _texts(path, how))


def _tsf(path: Path, how: Records) -> Iterator[Record]:
    begun = False
    for text in _texts(path, how):
        if begun:
            name, _, values = text.rpartition(":")
            yield from (Record(f"{name}, value {n}", {"value": v}) for n, v in enumerate(values.split(","), 1))
        begun = begun or text.strip().lower() == "@data"


def _texts(path: Path, how: Records) -> Iterator[str]:
    with open_text(path, how.encoding) as file:
        yield from (line.text for line in file.lines(max_length=MAX_LINE) if line.text.strip())

"""Rows for any version of the registered model: series from CSV files, and an example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ...data.text import AUTO
from ...serving.lines import is_stream, records

INPUT = "series.csv with the columns ds and y, unique_id for several series, and what else the model needs"
KEY: dict[str, str] = {}  # the answers name their series themselves
CHUNK_SIZE = 50_000  # days: some hundred series

_EXAMPLE_DAYS = 56
_DAYS_AHEAD = 7


def groups(source: str, encoding: str = AUTO) -> Iterator[list[dict[str, Any]]]:
    """The rows of a series at a time, once all of them are there.

    The file is read twice, since a series may stand in it in pieces. Only the series that have begun and not ended are
    in memory: one, where the file is sorted by series; all, where it is sorted by day, or comes through a pipe.
    """
    once = is_stream(source)
    last = {} if once else {name: number for number, (name, _) in enumerate(_records(source, encoding))}
    begun: dict[str, list[dict[str, Any]]] = {}
    for number, (name, row) in enumerate(_records(source, encoding)):
        begun.setdefault(name, []).append(row)
        if not once and last[name] == number:
            yield begun.pop(name)
    yield from begun.values()


def example(folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Eight weeks that repeat themselves; extra columns of the version's own data are 0, for the week ahead as well."""
    first = date(2015, 1, 5)
    extra = dict.fromkeys((name for name in columns if name not in ("unique_id", "ds", "y")), 0.0)
    return [
        {
            "unique_id": "example",
            "ds": (first + timedelta(days=day)).isoformat(),
            "y": 10.0 + day % 7 if day < _EXAMPLE_DAYS else None,
            **extra,
        }
        for day in range(_EXAMPLE_DAYS + (_DAYS_AHEAD if extra else 0))
    ]


def _records(source: str, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each row's series and the row; a lone series is called after its file, without suffixes, or `series`
    where it comes through a pipe.
    """
    file_name = "series" if is_stream(source) else Path(source).name.partition(".")[0]
    for _, record in records(source, ("ds", "y"), "ds, y and, for several series, unique_id", encoding):
        name = record.get("unique_id", file_name).strip()  # as preparation and the model read it
        yield name, {**record, "unique_id": name or None}

"""Series from CSV files, as rows for any version of the registered model."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from ...lines import opened, stem

INPUT = "series.csv with the columns ds and y, unique_id for several series, and what else the model needs"
KEY: dict[str, str] = {}  # the answers name their series themselves
PORTION = 50_000  # days: some hundred series


def groups(source: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of a series at a time, once all of them are there.

    The file is read twice, since a series may stand in it in pieces. Only the series that have begun and not ended are
    in memory: one, where the file is sorted by series; all, where it is sorted by day.
    """
    last = {name: number for number, (name, _) in enumerate(_records(source))}
    begun: dict[str, list[dict[str, Any]]] = {}
    for number, (name, row) in enumerate(_records(source)):
        begun.setdefault(name, []).append(row)
        if last[name] == number:
            yield begun.pop(name)


def _records(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each row's series and the row."""
    with opened(source) as file:
        records = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
        try:
            columns = records.fieldnames or []
            if not {"ds", "y"} <= set(columns):
                found = ", ".join(columns)[:200] or "none"
                raise ValueError(f"{source}: found columns {found}; allowed: ds, y and, for several series, unique_id")
            only = None if "unique_id" in columns else stem(source)
            for record in records:
                name = only or record["unique_id"]
                yield name or "", {**_further(record), "unique_id": name or None, "ds": record["ds"], "y": record["y"]}
        except csv.Error as error:
            raise ValueError(f"{source}: line {records.line_num}: not a CSV: {error}") from None


def _further(record: dict[str, Any]) -> dict[str, Any]:
    """The file's other columns; what a line has too much stands under no name."""
    return {column: value for column, value in record.items() if column}

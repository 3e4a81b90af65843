"""Uploaded CSVs: bounds that hold before anything reads one, and its rows as the forecaster takes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.serving.lines import records

MAX_BYTES = 20 * 2**20
MAX_LINE = 16_384  # bytes: each column of a header becomes a choice in three lists
_MAX_ROWS = 200_000
_GZIP = b"\x1f\x8b"


class BadFile(ValueError):
    """A file that makes no series; the message names the line, what was found and what is allowed."""


def require_readable(path: Path) -> None:
    """Raise ValueError for a file that would take long to read (packed, large, or with a very long line), or whose
    columns are not separated by commas.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"found {size:,} bytes; allowed: {MAX_BYTES:,}")
    content = path.read_bytes()
    if content.startswith(_GZIP):
        raise ValueError("found a file packed with gzip; allowed: a CSV as text")
    if (longest := max(map(len, content.split(b"\n")))) > MAX_LINE:
        raise ValueError(f"found a line of {longest:,} bytes; allowed: {MAX_LINE:,}")
    header = content.partition(b"\n")[0]
    if header and b"," not in header:
        found = header.decode(errors="replace").strip()[:80]
        raise ValueError(f"found one column, {found!r}; allowed: a day and a value at least, separated by commas")


def read_records(path: str, required: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The records of an uploaded file, each with its line. Raises BadFile without the server's path in it."""
    try:
        require_readable(Path(path))
        yield from records(path, required, f"also {', '.join(required)}")
    except ValueError as error:
        raise BadFile(str(error).replace(f"{path}: ", "")) from None


def read_frame(path: str, day: str, value: str, series: str | None) -> pd.DataFrame:
    """The rows of a CSV as the forecaster takes them, with what else stands there. Raises BadFile, naming the line."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []  # of the lines
    try:
        for number, record in read_records(path, [name for name in (day, value, series) if name]):
            if len(rows) >= _MAX_ROWS:
                raise BadFile(f"found more than {_MAX_ROWS:,} rows; allowed: at most that many")
            others = {name: cell for name, cell in record.items() if name not in (day, value, series)}
            name = record[series].strip() if series else "series"
            if not name:
                raise BadFile(f"line {number}: found no {series}; allowed: the name of a series")
            rows.append({**others, "unique_id": name, "ds": record[day].strip(), "y": record[value].strip() or None})
            numbers.append(number)
    except BadFile:
        if rows:
            _checked(rows, numbers, day, value)  # whose faults come first
        raise
    if not rows:
        raise BadFile("found no rows; allowed: a header, and one row per day")
    return _checked(rows, numbers, day, value)


def _checked(rows: Sequence[Mapping[str, Any]], numbers: Sequence[int], day: str, value: str) -> pd.DataFrame:
    """The rows as a table. Raises BadFile for the first bad day or value, with its line, which no model knows."""
    frame = pd.DataFrame(rows)
    days = pd.to_datetime(frame["ds"], format="ISO8601", errors="coerce", utc=True)
    values = pd.to_numeric(frame["y"], errors="coerce").to_numpy(dtype=float)
    bad_values = frame["y"].notna().to_numpy() & ~np.isfinite(values)
    for row in np.flatnonzero(days.isna().to_numpy() | bad_values)[:1]:
        if pd.isna(days[row]):
            found, allowed = f"found {frame['ds'][row][:40]!r} as {day}", "a date such as 2015-12-31"
        else:
            found, allowed = f"found {frame['y'][row][:40]!r} as {value}", "a number such as 1234.5, or nothing"
        raise BadFile(f"line {numbers[row]}: {found}; allowed: {allowed}")
    return frame

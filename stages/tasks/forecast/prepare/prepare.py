"""Raw files into the sequence store: one row a series, cut in time and not in rows.

A series is one row, its windows are cut when they are read. So the column `split` says `train` everywhere, and where a
series is cut stands in `train_end` and `validation_end`: the steps at which its validation and its test days begin.

With `known_columns` the store has a column `known`, `(time, known columns)`, with `past_columns` one `past` alike: in
the file's own units. `description.json` holds means and deviations over the training days of all series, of the values
under the empty name, and the table of `holidays.py`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ....data.store import ragged
from ....preprocessing.preparation import Preparation
from ..data.holidays import holiday_table
from ..data.series import HORIZON, MIN_HISTORY, Series, SeriesError, calendar_date, on_days, regular
from ..params import PrepareParams
from .readers import Bad, Observation, read_csv, read_tsf

COLUMNS = {
    "values": ragged(np.float64),
    "observed": ragged(np.uint8),  # 0 where a missing day was filled
    "start": pa.date32(),
    "train_end": pa.int32(),
    "validation_end": pa.int32(),
}


@dataclass(slots=True)
class _Rows:
    """What the files say of one series, in their order."""

    days: array[int] = field(default_factory=lambda: array("i"))
    values: array[float] = field(default_factory=lambda: array("d"))
    further: array[float] = field(default_factory=lambda: array("d"))


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Write each series that the rules of `series.py` allow; the others, and bad lines, are rejected with a reason.

    Raises ValueError for a file that is no CSV or .tsf of daily series, or lacks a column, and for a country without
    known holidays.
    """
    files = sorted(p for p in raw.iterdir() if p.suffix in (".csv", ".tsf"))
    known, past = len(params.known_columns), len(params.past_columns)
    held_out = params.validation_days + params.test_days
    moments = _Moments(["", *params.known_columns, *params.past_columns])  # the values first, which have no name
    first, train_last, last = [], [], []
    with output.store(_columns(known, past), rows_per_batch=64) as writer:
        for name, rows in _by_series(files, params, output).items():
            days = np.frombuffer(rows.days, dtype=np.int32)
            try:
                found = regular(
                    days,
                    np.frombuffer(rows.values, dtype=np.float64),
                    duplicates=params.duplicates,
                    max_gap_days=params.max_gap_days,
                    min_days=MIN_HISTORY + HORIZON + held_out,
                )
            except SeriesError as error:
                output.reject(id=name, file="", rule=error.rule, reason=str(error), records=len(days))
                continue
            for rule, count in found.repairs.items():
                output.repair(rule, count)
            output.accept(len(days))
            length = len(found.values)
            further = _further(rows, found, known + past, params, output)
            moments.add(np.column_stack([found.values, further])[: length - held_out])
            parts = {"known": further[:, :known], "past": further[:, known:]}
            writer.append(
                {
                    "id": name,
                    "split": "train",
                    "length": length,
                    "values": found.values,
                    "observed": found.observed.astype(np.uint8),
                    "start": calendar_date(found.start),
                    "train_end": length - held_out,
                    "validation_end": length - params.test_days,
                    **{column: values for column, values in parts.items() if values.shape[1]},
                }
            )
            first.append(found.start)
            last.append(found.start + length - 1)
            train_last.append(found.start + length - held_out - 1)
    described: dict[str, Any] = {
        "series": len(first),
        "first_day": calendar_date(min(first)).isoformat() if first else None,
        "last_day": calendar_date(max(last)).isoformat() if last else None,
        "horizon": HORIZON,
        "max_gap_days": params.max_gap_days,
        "known_columns": params.known_columns,
        "past_columns": params.past_columns,
        "moments": moments.by_name(),
        "holidays": None,
    }
    if params.holidays and first:
        seen = (calendar_date(day) for day in (min(first), max(train_last), max(last)))
        described["holidays"] = holiday_table(params.holidays, *seen)
    output.describe(described)


class _Moments:
    """Mean and standard deviation of columns, added up series by series."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._sums = np.zeros((3, len(names)))

    def add(self, values: np.ndarray) -> None:
        """Add `(time, columns)`."""
        self._sums += [np.full(len(self._names), len(values)), values.sum(axis=0), (values**2).sum(axis=0)]

    def by_name(self) -> dict[str, list[float]]:
        """Name → mean and deviation; the deviation of a column that never changes is 1."""
        total, squares = self._sums[1:] / np.maximum(self._sums[0], 1.0)
        deviation = np.sqrt(np.maximum(squares - total**2, 0.0))
        deviation[deviation <= 1e-9 * np.abs(total)] = 1.0
        return {name: [float(m), float(d)] for name, m, d in zip(self._names, total, deviation, strict=True)}


def _columns(known: int, past: int) -> dict[str, pa.DataType]:
    """The store's columns; those of further values where there are any."""
    further = {"known": known, "past": past}
    return {**COLUMNS, **{name: ragged(np.float64, size) for name, size in further.items() if size}}


def _further(rows: _Rows, series: Series, columns: int, params: PrepareParams, output: Preparation) -> np.ndarray:
    """The further columns on the days of a series, `(time, columns)`; what was missing is counted."""
    values, given = on_days(
        np.frombuffer(rows.days, dtype=np.int32),
        np.frombuffer(rows.further, dtype=np.float64).reshape(len(rows.days), columns),
        start=series.start,
        length=len(series.values),
        duplicates=params.duplicates,
    )
    if missing := int((~given).sum()):
        output.repair("filled_covariate", missing)
    return values


def _by_series(files: Sequence[Path], params: PrepareParams, output: Preparation) -> dict[str, _Rows]:
    """All observations by series, in the order in which the series first appear; bad records are rejected."""
    series: dict[str, _Rows] = {}
    for path in files:
        for record in tqdm(_read(path, params), desc=path.name, unit="value", leave=False, disable=None):
            if isinstance(record, Bad):
                output.reject(
                    id=record.where,
                    file=path.name,
                    rule=record.rule,
                    reason=record.reason,
                    content=record.content,
                    records=record.observations,
                )
                continue
            rows = series.setdefault(record.series, _Rows())
            rows.days.append(record.day)
            rows.values.append(record.value)
            rows.further.extend(record.further)
    return series


def _read(path: Path, params: PrepareParams) -> Iterator[Observation | Bad]:
    if path.suffix == ".csv":
        return read_csv(path, params)
    asked = [*params.known_columns, *params.past_columns]
    if asked:
        raise ValueError(f"{path.name}: known_columns and past_columns: found {asked}; a .tsf has no further columns")
    return read_tsf(path)

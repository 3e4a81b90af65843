"""Raw files into the sequence store: one row a series, cut in time and not in rows.

A series is one row, its windows are cut when they are read. So the column `split` says `train` everywhere, and where a
series is cut stands in `train_end` and `validation_end`: the steps at which its validation and its test days begin.

With `known_columns` the store has a column `known`, `(time, known columns)`, with `past_columns` one `past` alike: in
the file's own units; what is known of the days ahead lies beside it (`ahead.py`). `description.json` holds means and
deviations over the training days of all series, of the values under the empty name, and the table of `holidays.py`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ....data.store import ragged
from ....preprocessing.preparation import Preparation
from ....progress_bar import track
from ..data.holidays import holiday_table
from ..data.series import (
    HORIZON,
    MIN_HISTORY,
    Rejection,
    Series,
    align_covariates,
    calendar_date,
    regularize,
    weekday,
)
from ..params import PrepareParams
from .ahead import Ahead
from .doubts import LEAVE_OUT, SWAPPED, are_swapped, count_conflicts, never_observed
from .names import Names, alike
from .readers import BadRecord, Doubt, Observation, read_csv, read_tsf

COLUMNS = {
    "values": ragged(np.float64),
    "observed": ragged(np.uint8),  # 0 where a missing day was filled
    "start": pa.date32(),
    "train_end": pa.int32(),
    "validation_end": pa.int32(),
}


@dataclass(slots=True)
class _Observations:
    """What the files say of one series, in their order."""

    days: array[int] = field(default_factory=lambda: array("i"))
    values: array[float] = field(default_factory=lambda: array("d"))
    covariates: array[float] = field(default_factory=lambda: array("d"))


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Write each series that the rules of `series.py` allow; the others, and bad lines, are rejected with a reason.

    Raises ValueError for a file that is no CSV or .tsf of daily series, or lacks a column, and for a country without
    known holidays.
    """
    output.units("values", "series")
    files = sorted(p for p in raw.iterdir() if p.suffix in (".csv", ".tsf"))
    covariates = {"known": params.known_columns, "past": params.past_columns}
    columns = {name: ragged(np.float64, len(names)) for name, names in covariates.items() if names}
    held_out = params.validation_days + params.test_days
    names = ["", *params.known_columns, *params.past_columns]  # the values first, which have no name
    sums = np.zeros((3, len(names)))
    first_days: list[int] = []
    last_days: list[int] = []
    ahead = Ahead(params, output)
    with output.store({**COLUMNS, **columns}, rows_per_batch=64) as writer:
        for name, observations in _by_series(files, params, output).items():
            found = _series(name, observations, params, output, ahead)
            if found is None:
                continue
            series, known, past = found
            length = len(series.values)
            learned = np.column_stack([series.values, known, past])[: length - held_out]
            sums += [np.full(len(names), len(learned)), learned.sum(axis=0), (learned**2).sum(axis=0)]
            writer.append(
                {
                    "id": name,
                    "split": "train",
                    "length": length,
                    "values": series.values,
                    "observed": series.observed.astype(np.uint8),
                    "start": calendar_date(series.start),
                    "train_end": length - held_out,
                    "validation_end": length - params.test_days,
                    **{column: {"known": known, "past": past}[column] for column in columns},
                }
            )
            first_days.append(series.start)
            last_days.append(series.start + length - 1)
    ahead.write()
    first, last = (calendar_date(min(first_days)), calendar_date(max(last_days))) if first_days else (None, None)
    holidays = None
    if params.holidays and first and last:
        holidays = holiday_table(params.holidays, first, calendar_date(max(last_days) - held_out), last)
    output.describe(
        {
            "series": len(first_days),
            "first_day": first and first.isoformat(),
            "last_day": last and last.isoformat(),
            "horizon": HORIZON,
            "max_gap_days": params.max_gap_days,
            "duplicates": params.duplicates,
            "known_columns": params.known_columns,
            "past_columns": params.past_columns,
            "moments": _moments(names, sums),
            "holidays": holidays,
        }
    )


def _series(
    name: str, observations: _Observations, params: PrepareParams, output: Preparation, ahead: Ahead
) -> tuple[Series, np.ndarray, np.ndarray] | None:
    """The series of some observations, its known and its past columns; None where it is rejected. What they know of the
    days after it goes to `ahead`.
    """
    days = np.frombuffer(observations.days, dtype=np.int32)
    values = np.frombuffer(observations.values, dtype=np.float64)
    columns = [*params.known_columns, *params.past_columns]
    further = np.frombuffer(observations.covariates).reshape(len(days), len(columns))
    known = len(params.known_columns)
    try:
        series = regularize(
            days,
            values,
            duplicates=params.duplicates,
            max_gap_days=params.max_gap_days,
            min_days=MIN_HISTORY + HORIZON + params.validation_days + params.test_days,
        )
        covariates = align_covariates(
            days,
            further,
            columns,
            start=series.start,
            length=len(series.values),
            duplicates=params.duplicates,
        )
    except Rejection as error:
        output.reject(id=name, file="", rule=error.rule, reason=str(error), values=len(days), rows=1)
        return None
    _count(name, days, int((~np.isnan(values)).sum()), series, params, output)
    ahead.add(name, days, further[:, :known], series.start + len(series.values))
    given = covariates.given
    missing = np.flatnonzero(~given.all(axis=1))
    first = f"{name}: {calendar_date(series.start + int(missing[0]))}" if len(missing) else ""
    output.fill("filled_covariate", int((~given).sum()), of=given.size, unit="covariates", example=first)
    count_conflicts(name, covariates, params.duplicates, output)
    return series, covariates.values[:, :known], covariates.values[:, known:]


def _count(
    name: str, days: np.ndarray, values: int, series: Series, params: PrepareParams, output: Preparation
) -> None:
    """Count what became of so many values of a series, with the first example of each rule."""
    output.accept(values - series.before_gap)
    if series.before_gap:
        allowed = f"allowed: gaps of up to {params.max_gap_days} days (prepare.max_gap_days)"
        reason = f"{series.before_gap} values before a gap that ends on {calendar_date(series.start)}; {allowed}"
        output.reject(id=name, file="", rule="before_long_gap", reason=reason, values=series.before_gap)
    for rule, count in series.repairs.items():
        example = f"{name}: {series.examples[rule]}" if rule in series.examples else name
        # `first` and `last` leave out all but one of different values; the sum of a part of a day is not the day's.
        doubtful = rule == "partial_day" or (rule == "conflicting_day" and params.duplicates in LEAVE_OUT)
        if rule == "unsorted_row" and are_swapped(days):
            rule, doubtful, example = "unsorted_swapped_day", True, f"{example}; {SWAPPED}"
        output.repair(rule, count, example=example, doubtful=doubtful)
    filled = series.start + np.flatnonzero(~series.observed)
    unseen = np.isin(weekday(filled), series.unobserved_weekdays)
    for rule, which, why in (
        ("filled_day", ~unseen, ""),
        ("filled_unobserved_weekday", unseen, never_observed(series)),
    ):
        first = f"{name}: {why or calendar_date(int(filled[which][0]))}" if which.any() else ""
        output.fill(rule, int(which.sum()), of=len(series.values), unit="days", example=first)


def _moments(names: Sequence[str], sums: np.ndarray) -> dict[str, list[float]]:
    """Name → mean and standard deviation; the deviation of a column that never changes is 1. `sums` are of ones, values
    and squares, `(3, columns)`.
    """
    mean, squares = sums[1:] / np.maximum(sums[0], 1.0)
    deviation = np.sqrt(np.maximum(squares - mean**2, 0.0))
    deviation[deviation <= 1e-9 * np.abs(mean)] = 1.0
    return dict(zip(names, np.stack([mean, deviation], axis=1).tolist(), strict=True))


def _by_series(files: Sequence[Path], params: PrepareParams, output: Preparation) -> dict[str, _Observations]:
    """All observations by series, in the order in which the series first appear; bad records are rejected, and series
    that hold no other ones.
    """
    by_series: dict[str, _Observations] = {}
    names = Names()
    bad: Counter[str] = Counter()  # series → rejected values
    for path in files:
        for record in track(_read(path, params, names), path.name, unit="values"):
            if isinstance(record, BadRecord):
                fields = {name: getattr(record, name) for name in ("id", "rule", "reason", "content", "values", "rows")}
                output.reject(file=path.name, **fields)
                bad.update(record.series)
                continue
            if isinstance(record, Doubt):
                output.repair(record.rule, record.count, example=record.example, doubtful=True)
                continue
            observations = by_series.setdefault(record.series, _Observations())
            observations.days.append(record.day)
            observations.values.append(record.value)
            observations.covariates.extend(record.covariates)
    for name, count in bad.items():
        if name not in by_series:
            reason = f"all of its {count:,} values were rejected; allowed: a series with valid values"
            output.reject(id=name, file="", rule="no_good_value", reason=reason, values=0, rows=1)
    for name, other in alike(by_series).items():
        example = f"{ascii(name)} beside {ascii(other)}, two series"
        output.repair("name_alike", len(by_series[name].days), example=example, doubtful=True)
    return by_series


def _read(path: Path, params: PrepareParams, names: Names) -> Iterator[Observation | BadRecord | Doubt]:
    if path.suffix == ".csv":
        return read_csv(path, params, names)
    if columns := [*params.known_columns, *params.past_columns]:
        raise ValueError(f"{path.name}: known_columns and past_columns: found {columns}; allowed with a .tsf: none")
    return read_tsf(path, names, params.encoding)

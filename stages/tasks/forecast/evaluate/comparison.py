"""The test weeks as a registered model is asked them, and what its answers are worth.

Here a test week is seven test days that no other forecast is asked for, counted back from a series' end. How many there
are does not depend on `evaluate.origins`, which a later params.yaml may change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ....data.prepared import open_prepared
from ....data.store import SequenceStore
from ....evaluation.bootstrap import Scores, evenly, ratio
from ..data.series import HORIZON, calendar_date
from ..model.windows import test_origins
from .scores import groups

HISTORY_DAYS = 730  # that a question brings at the most: two years; of all of them, a thousand would not fit in memory


@dataclass(frozen=True, slots=True)
class Week:
    """A forecast that is asked for."""

    row: int  # of the series in the store
    origin: int  # the step of the first day to forecast
    name: str  # the series as the model is told it: each week is a series of its own
    first_day: int  # days since 1970-01-01 of the first day that the question tells
    past: np.ndarray  # (time,)
    future: np.ndarray  # (7,)
    observed: np.ndarray  # (7,) bool
    known: np.ndarray  # (time + 7, known columns)
    others: np.ndarray  # (time, past columns)


def examples(prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
    """Up to two years before each test week: `unique_id`, `ds`, `y`, a row a day, and the data's further columns. With
    `known_columns`, seven rows without `y` tell of the test week.
    """
    _, description = open_prepared(prepared)
    known, past = description["known_columns"], description["past_columns"]
    ahead = HORIZON if known else 0
    tables = []
    for week in _weeks(prepared, limit):
        days = np.arange(week.first_day, week.first_day + len(week.past) + ahead)
        table = {
            "unique_id": np.repeat(week.name, len(days)),
            "ds": days.astype("datetime64[D]").astype("datetime64[ns]"),
            "y": _longer(week.past, ahead),
        }
        table |= {name: week.known[: len(days), column] for column, name in enumerate(known)}
        table |= {name: _longer(week.others[:, column], ahead) for column, name in enumerate(past)}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, limit: int) -> Scores:
    """Mean absolute error of `mean` over the days that were observed; see `scores.groups`.

    Raises ValueError where an answer is missing: no error can stand for it.
    """
    weeks = list(_weeks(prepared, limit))
    keys = pd.MultiIndex.from_arrays([answers["unique_id"].astype(str), pd.to_datetime(answers["ds"])])
    found = pd.Series(answers["mean"].to_numpy(dtype=np.float64), index=keys)
    parts = np.empty((len(weeks), 2))
    for part, week in zip(parts, weeks, strict=True):
        first = pd.Timestamp(calendar_date(week.first_day + len(week.past)))
        wanted = [(week.name, first + pd.Timedelta(days=ahead)) for ahead in range(HORIZON)]
        forecast = found.reindex(wanted).to_numpy()
        if np.isnan(forecast).any():
            raise ValueError(f"no forecast of all seven days from {first.date()} for series {week.name!r}")
        part[:] = np.abs(forecast - week.future)[week.observed].sum(), week.observed.sum()
    alike = groups(np.array([week.row for week in weeks]), np.array([week.origin for week in weeks]))
    return Scores(statistics=parts, groups=alike, metric=ratio)


def _weeks(prepared: Path, limit: int) -> Iterator[Week]:
    store, _ = open_prepared(prepared)
    borders = [store.column(name).tolist() for name in ("train_end", "validation_end", "length")]
    starts = store.column("start").astype("datetime64[D]").astype(np.int64).tolist()
    origins = [
        (row, origin)
        for row, border in enumerate(zip(*borders, strict=True))
        for origin in reversed(test_origins(*border)[::-1][::HORIZON])
        if np.ptp(store.sequence("values", row)[max(0, origin - HISTORY_DAYS) : origin])  # a model refuses constants
    ]
    if not origins:
        raise ValueError(f"{prepared}: no test week to ask for")
    for row, origin in (origins[place] for place in evenly(len(origins), limit)):
        begin = max(0, origin - HISTORY_DAYS)
        values, ahead = store.sequence("values", row), slice(origin, origin + HORIZON)
        yield Week(
            row=row,
            origin=origin,
            name=f"{store.value('id', row)} from {calendar_date(starts[row] + origin)}",
            first_day=starts[row] + begin,
            past=values[begin:origin],
            future=values[ahead],
            observed=store.sequence("observed", row)[ahead] > 0,
            known=_further(store, "known", row)[begin : ahead.stop],
            others=_further(store, "past", row)[begin:origin],
        )


def _further(store: SequenceStore, column: str, row: int) -> np.ndarray:
    """Further columns of a series, `(time, columns)`; none where the data has none."""
    return store.sequence(column, row) if column in store.columns else np.empty((store.value("length", row), 0))


def _longer(values: np.ndarray, days: int) -> np.ndarray:
    return np.concatenate([values, np.full(days, np.nan)])

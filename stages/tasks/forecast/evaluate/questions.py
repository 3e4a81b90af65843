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

from ....preparation import open_prepared
from ....scores import Scores, evenly, ratio
from ..model.windows import test_origins
from ..prepare.series import HORIZON, calendar_date
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


def questions(prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
    """Up to two years before each test week: `unique_id`, `ds`, `y`, a row a day."""
    weeks = list(_weeks(prepared, limit))
    days = [np.arange(week.first_day, week.first_day + len(week.past)) for week in weeks]
    return pd.DataFrame(
        {
            "unique_id": np.repeat([week.name for week in weeks], [len(week.past) for week in weeks]),
            "ds": np.concatenate(days).astype("datetime64[D]").astype("datetime64[ns]"),
            "y": np.concatenate([week.past for week in weeks]),
        }
    )


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
    return Scores(parts=parts, groups=alike, metric=ratio)


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
        )

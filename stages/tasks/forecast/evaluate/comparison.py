"""The test weeks as a registered model is asked to forecast them, and scores of its answers.

Here a test week is seven test days that no other forecast is asked for, counted back from a series' end. How many there
are does not depend on `evaluate.origins`, which a later params.yaml may change.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ....evaluation.bootstrap import Scores, ratio
from ....models.learned import Identities
from ..data.series import HORIZON, calendar_date
from ..model.windows import RawWindows, rolling_origins
from .scores import groups

HISTORY_DAYS = 730  # before each week at the most: two years; of all of them, a thousand would not fit in memory


def identities(prepared: Path) -> Identities:
    """Each test week's series and days."""
    windows, weeks = _test_weeks(prepared)
    first = np.array([windows.history(week).next_day for week in weeks])
    names = [windows.store.value("id", windows.locate(week)[0]) for week in weeks]
    return Identities(names, np.stack([first, first + HORIZON - 1], axis=1))


def examples(prepared: Path, raw: Path, chosen: np.ndarray) -> pd.DataFrame:
    """Up to two years before each chosen week: `unique_id`, `ds`, `y`, a row a day, and the data's covariates. With
    `known_columns`, seven rows without `y` tell of the test week. Each week is a series of its own.
    """
    windows, weeks = _test_weeks(prepared, chosen)
    known, past = windows.data["known_columns"], windows.data["past_columns"]
    tables = []
    for week in weeks:
        history = windows.history(week)
        values = pd.Series(history.values[-HISTORY_DAYS:])
        days = np.arange(history.next_day - len(values), history.next_day + (HORIZON if known else 0))
        table = pd.DataFrame({"ds": days.astype("datetime64[D]").astype("datetime64[ns]")})
        table.insert(0, "unique_id", windows.name(week))
        table["y"] = values  # by the number of the row: none on the days ahead
        if history.known is not None:
            table[known] = history.known[-len(table) :]
        if history.past is not None:
            table[past] = pd.DataFrame(history.past[-len(values) :])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, chosen: np.ndarray) -> Scores:
    """Mean absolute error of `mean` over the days that were observed; see `scores.groups`.

    Raises ValueError where an answer is missing: no error can stand for it.
    """
    windows, weeks = _test_weeks(prepared, chosen)
    keys = pd.MultiIndex.from_arrays([answers["unique_id"].astype(str), pd.to_datetime(answers["ds"])])
    means = pd.Series(answers["mean"].to_numpy(dtype=np.float64), index=keys)
    parts = np.empty((len(weeks), 2))
    for part, week in zip(parts, weeks, strict=True):
        name, first = windows.name(week), pd.Timestamp(calendar_date(windows.history(week).next_day))
        forecast = means.reindex([(name, day) for day in pd.date_range(first, periods=HORIZON)]).to_numpy()
        if np.isnan(forecast).any():
            raise ValueError(f"the forecast from {first.date()} for series {name!r} lacks some of the seven days")
        actual, observed = windows.future(week)
        part[:] = np.abs(forecast - actual)[observed].sum(), observed.sum()
    series, origins = np.array([windows.locate(week) for week in weeks]).T
    return Scores(statistics=parts, groups=groups(series, origins), metric=ratio)


def _test_weeks(prepared: Path, chosen: np.ndarray | None = None) -> tuple[RawWindows, list[int]]:
    """Windows, and those of them that a model can answer, which refuses constants: all, or some by their numbers."""
    windows = RawWindows(prepared, rolling_origins(None, HORIZON))
    weeks = [week for week in range(len(windows)) if np.ptp(windows.history(week).values[-HISTORY_DAYS:])]
    if not weeks:
        raise ValueError(f"{prepared}: no complete test week to forecast")
    return windows, weeks if chosen is None else [weeks[place] for place in chosen]

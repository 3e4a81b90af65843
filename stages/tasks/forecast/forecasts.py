"""The newest prepared data: what a registered model is sent to say what comes next, and what came of its forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from ...data.prepared import open_prepared
from .data.series import calendar_date, day_number
from .prepare.ahead import read_ahead

HISTORY_DAYS = 730  # that the model is sent at the most, as by the gate: two years


def origins(prepared: Path) -> dict[str, date]:
    """By series, the first day to forecast: the one after the last of the data."""
    store, _ = open_prepared(prepared)
    names, lengths = store.column("id").tolist(), store.column("length").tolist()
    starts = store.column("start").astype("datetime64[D]").astype(np.int64).tolist()
    return {name: calendar_date(start + length) for name, start, length in zip(names, starts, lengths, strict=True)}


def history(prepared: Path, names: list[str]) -> pd.DataFrame:
    """Up to two years of some series, as users send them: `unique_id`, `ds`, `y` and the data's covariates. Rows
    without `y` tell of the days ahead, as far as the data know of them.
    """
    store, data = open_prepared(prepared)
    ahead = read_ahead(prepared, names)
    known, past = data["known_columns"], data["past_columns"]
    tables = []
    for row, name in _rows(store.column("id").tolist(), names):
        values = store.sequence("values", row)[-HISTORY_DAYS:]
        last = day_number(store.value("start", row)) + store.value("length", row)
        table = pd.DataFrame(
            {"ds": np.arange(last - len(values), last).astype("datetime64[D]").astype("datetime64[ns]")}
        )
        table.insert(0, "unique_id", name)
        table["y"] = values
        for columns, stored in ((known, "known"), (past, "past")):
            if columns:
                table[columns] = store.sequence(stored, row)[-len(values) :]
        tables += [table, ahead[name]] if name in ahead else [table]
    return pd.concat(tables, ignore_index=True)


def actuals(prepared: Path, since: date) -> pd.DataFrame:
    """What came from a day on, a row for each day that was observed: `unique_id`, `ds`, `y`, and `scale`, what MASE
    divides the series' errors by, NaN where that is unknown.
    """
    from .evaluate.scores import naive_scale  # torch

    store, _ = open_prepared(prepared)
    tables = []
    for row, name in enumerate(store.column("id").tolist()):
        values, observed = store.sequence("values", row), store.sequence("observed", row) > 0
        days = day_number(store.value("start", row)) + np.arange(len(values))
        end = store.value("validation_end", row)
        chosen = observed & (days >= day_number(since))
        table = pd.DataFrame({"ds": days[chosen].astype("datetime64[D]").astype("datetime64[ns]"), "y": values[chosen]})
        table.insert(0, "unique_id", name)
        tables.append(table.assign(scale=naive_scale(values[:end], observed[:end])))
    return pd.concat(tables, ignore_index=True)


def _rows(all_names: list[str], names: list[str]) -> Iterator[tuple[int, str]]:
    wanted = set(names)
    return ((row, name) for row, name in enumerate(all_names) if name in wanted)

"""What a file says of the days after a series' last value: its `known_columns`, in rows whose value is empty.

`ahead.parquet` lies beside the store where there is any of it: a row a series and day, `unique_id`, `ds` and the known
columns in the file's own units, null where nothing is given. Nothing learns from it; the registered model is sent it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ....preprocessing.preparation import Preparation
from ..data.series import HORIZON, Rejection, align_covariates
from ..params import PrepareParams
from .doubts import count_conflicts

AHEAD_NAME = "ahead.parquet"


class Ahead:
    """The days ahead of all series of a preparation, in the store's order."""

    def __init__(self, params: PrepareParams, output: Preparation) -> None:
        self._columns = params.known_columns
        self._duplicates = params.duplicates
        self._output = output
        self._tables: list[pd.DataFrame] = []

    def add(self, name: str, days: np.ndarray, known: np.ndarray, next_day: int) -> None:
        """Keep the first seven days from `next_day` on, the day after the last value, of a series' observations: `days`
        `(n,)` since 1970-01-01 and `known` `(n, known columns)`, NaN where missing. Days further ahead are left for
        when they are near; those that say two things, where `duplicates` refuses that, are rejected and counted.
        """
        ahead = (days >= next_day) & (days < next_day + HORIZON) & ~np.isnan(known).all(axis=1)
        if not ahead.any():
            return
        try:
            found = align_covariates(
                days[ahead], known[ahead], self._columns, start=next_day, length=HORIZON, duplicates=self._duplicates
            )
        except Rejection as error:
            self._output.reject(id=name, file="", rule="ahead", reason=str(error), values=int(ahead.sum()))
            return
        count_conflicts(name, found, self._duplicates, self._output)
        ds = np.arange(next_day, next_day + HORIZON).astype("datetime64[D]").astype("datetime64[ns]")
        table = pd.DataFrame(np.where(found.given, found.values, np.nan), columns=self._columns)
        table.insert(0, "unique_id", name)
        table.insert(1, "ds", ds)
        self._tables.append(table.dropna(how="all", subset=self._columns))

    def write(self) -> None:
        """Write the file, where there is anything to write."""
        if self._tables:
            pd.concat(self._tables, ignore_index=True).to_parquet(self._output.folder / AHEAD_NAME, index=False)


def read_ahead(prepared: Path, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """By series, of those that are named and that the file tells of, what is known of the days ahead: `unique_id`, `ds`
    and the known columns.
    """
    path = prepared / AHEAD_NAME
    if not path.is_file():
        return {}
    table = pd.read_parquet(path, filters=[("unique_id", "in", list(names))])
    return {str(name): rows for name, rows in table.groupby("unique_id", sort=False)}

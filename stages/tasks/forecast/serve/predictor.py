"""Answers in Nixtla's long format: any number of series in, the seven days after each one's last day out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from ....data.files import read_json
from ....models.weights import load_network
from ....paths import NETWORK_NAME
from ....serving.predictor import Item, Row
from ....serving.predictor import Predictor as BasePredictor
from ..data.series import (
    HORIZON,
    MAX_MAGNITUDE,
    MAX_YEAR,
    MIN_HISTORY,
    MIN_YEAR,
    Series,
    calendar_date,
    on_days,
    regular,
)
from ..model.covariates import Covariates
from ..model.network import build
from ..model.windows import Past
from ..params import NEEDED_QUANTILES, ModelParams

BATCH_SIZE = 512  # series at a time


@dataclass(frozen=True, slots=True)
class Request:
    """A series to forecast, and how it is called in the answer."""

    name: str
    past: Past


class Predictor(BasePredictor):
    """Rows are grouped by `unique_id`; a series is repaired by the rules of `series.py`, as the training data was.

    A model that was trained with further columns needs them here under the same names: `past_columns` on the series'
    days, `known_columns` on the seven days ahead as well, in rows whose `y` is empty. Of any model, rows without `y`
    after the last one with it are days ahead, and their values nothing to fill.

    What preprocessing counts and goes on with is asked back here where a person can still mend it: a value that is no
    finite number, and two different values on one day; and what is not known of a day ahead.
    """

    inputs: ClassVar[Mapping[str, str]] = {"unique_id": "any", "ds": "any", "y": "any"}
    outputs: ClassVar[Mapping[str, str]] = {
        "unique_id": "string",
        "ds": "datetime",
        "mean": "double",
        "q05": "double",
        "q50": "double",
        "q95": "double",
    }
    unit: ClassVar[str] = "series"
    requirements: ClassVar[Sequence[str]] = ("pydantic", "pyarrow", "safetensors", "pyyaml")

    def __init__(self, folder: Path) -> None:
        self._network, data = load_network(folder, build, ModelParams)
        self._covariates = self._network.inputs.covariates
        self._further = [*self._covariates.known_columns, *self._covariates.past_columns]
        self._max_gap_days: int = data["max_gap_days"]
        self._columns = [1 + self._network.params.quantiles.index(q) for q in NEEDED_QUANTILES]

    @classmethod
    def extra_inputs(cls, folder: Path) -> dict[str, str]:
        described = read_json(folder / NETWORK_NAME)
        covariates = Covariates(ModelParams.model_validate(described["model"]), described["data"])
        return dict.fromkeys((*covariates.known_columns, *covariates.past_columns), "any")

    def to_items(self, frame: pd.DataFrame) -> list[Item]:
        """One item a series, in the order of their first rows."""
        missing = [name for name in self._further if name not in frame.columns]
        if missing:
            raise ValueError(f"columns missing: {missing}; found {list(map(str, frame.columns))}")
        groups = frame.groupby("unique_id", sort=False, dropna=False)
        return [
            Item("the rows without unique_id", {"unique_id": None}, rows)
            if pd.isna(name)
            else Item(f"series {str(name)!r}", {"unique_id": str(name)}, rows)
            for name, rows in groups
        ]

    def read(self, item: Item) -> Request:
        """The series of one `unique_id`, from its rows in any order."""
        name = item.key["unique_id"]
        if name is None:
            raise ValueError("unique_id is missing; allowed is a name for each series")
        days = _days(item.content["ds"])
        ahead = _without_value(item.content["y"], days)
        values = _values(item.content["y"][~ahead], days[~ahead])
        _one_value_a_day("y", days[~ahead], values)
        series = regular(days[~ahead], values, duplicates="last", max_gap_days=self._max_gap_days, min_days=MIN_HISTORY)
        next_day = series.start + len(series.values)
        self._check_calendar(series.start, next_day)
        return Request(
            name,
            Past(
                series.values,
                next_day,
                known=self._known(item.content, days, series),
                others=self._others(item.content, days, series),
            ),
        )

    def _check_calendar(self, start: int, next_day: int) -> None:
        """Raises ValueError for a day that the network looks at and the table of holidays does not hold."""
        bounds = self._covariates.days
        first = max(start, next_day - self._network.params.context_days)
        if bounds and not bounds[0] <= first < next_day + HORIZON <= bounds[1] + 1:
            asked, known = (
                f"{calendar_date(a)} to {calendar_date(b)}" for a, b in ((first, next_day + HORIZON - 1), bounds)
            )
            raise ValueError(f"ds: the days from {asked} are read; allowed are {known}, whose holidays the model knows")

    def _known(self, rows: pd.DataFrame, days: np.ndarray, series: Series) -> np.ndarray | None:
        """`known_columns` on the series' days and the seven days ahead, `(time + 7, columns)`."""
        names = self._covariates.known_columns
        if not names:
            return None
        values, given = _on_days(rows, names, days, series, HORIZON)
        day, column = (place[:1].tolist() for place in np.nonzero(~given[-HORIZON:]))
        if day:
            missing = calendar_date(series.start + len(series.values) + day[0])
            raise ValueError(
                f"{names[column[0]]} is missing on {missing}; allowed are rows with it, and without y, for each of the "
                f"{HORIZON} days ahead"
            )
        return values

    def _others(self, rows: pd.DataFrame, days: np.ndarray, series: Series) -> np.ndarray | None:
        """`past_columns` on the series' days, `(time, columns)`."""
        names = self._covariates.past_columns
        if not names:
            return None
        values, given = _on_days(rows, names, days, series, 0)
        for name, times in zip(names, given.sum(axis=0), strict=True):
            if not times:
                raise ValueError(f"{name} is missing on all days; allowed is at least one number")
        return values

    def predict_batch(self, examples: Sequence[Request], options: Mapping[str, Any]) -> list[list[Row]]:
        answers: list[list[Row]] = []
        for start in range(0, len(examples), BATCH_SIZE):
            requests = examples[start : start + BATCH_SIZE]
            with torch.inference_mode():
                batch = self._network.inputs.encode([request.past for request in requests])
                forecasts = self._network.forecast(batch).numpy()
            answers.extend(self._rows(request, forecast) for request, forecast in zip(requests, forecasts, strict=True))
        return answers

    def _rows(self, request: Request, forecast: np.ndarray) -> list[Row]:
        rows: list[Row] = []
        for ahead in range(HORIZON):
            mean, q05, q50, q95 = (float(forecast[ahead, column]) for column in (0, *self._columns))
            day = pd.Timestamp(calendar_date(request.past.next_day + ahead))
            rows.append({"unique_id": request.name, "ds": day, "mean": mean, "q05": q05, "q50": q50, "q95": q95})
        return rows


def _days(column: pd.Series) -> np.ndarray:
    """`ds` as days since 1970-01-01; of a time with a zone, the date on its own clock."""
    allowed = f"allowed are ISO 8601 dates of {MIN_YEAR} to {MAX_YEAR}, such as 2015-12-31, all in one time zone"
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(f"ds holds numbers, such as {column.iloc[0]}; {allowed}")
    try:
        dates = pd.to_datetime(column, format="ISO8601", errors="coerce").dt.tz_localize(None)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"ds: {error}; {allowed}") from None
    bad = np.flatnonzero(~dates.dt.year.between(MIN_YEAR, MAX_YEAR))
    if len(bad):
        raise ValueError(f"ds holds {column.iloc[bad[0]]!r}; {allowed}")
    return dates.to_numpy(dtype="datetime64[D]").astype(np.int64)


def _values(column: pd.Series, days: np.ndarray) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~(np.abs(values) <= MAX_MAGNITUDE))
    if len(bad):
        raise ValueError(
            f"y is {column.iloc[bad[0]]} on {calendar_date(int(days[bad[0]]))}; allowed are finite numbers (leave a "
            f"missing day out: it is filled from the same weekday a week earlier)"
        )
    return values


def _without_value(column: pd.Series, days: np.ndarray) -> np.ndarray:
    """Which rows only tell of days ahead: those without a value after the last one with a value, `(rows,)` bool."""
    empty = (column.isna() | (column.astype(str).str.strip() == "")).to_numpy(dtype=bool)
    last = days[~empty].max(initial=np.iinfo(np.int64).min)
    return empty & (days > last)


def _on_days(
    rows: pd.DataFrame, names: Sequence[str], days: np.ndarray, series: Series, ahead: int
) -> tuple[np.ndarray, np.ndarray]:
    """Further columns on the days of a series and `ahead` more: see `series.on_days`."""
    columns = []
    for name in names:
        column = rows[name].replace("", np.nan)
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.flatnonzero(column.notna().to_numpy() & ~(np.abs(values) <= MAX_MAGNITUDE))
        if len(bad):
            raise ValueError(
                f"{name} is {column.iloc[bad[0]]} on {calendar_date(int(days[bad[0]]))}; allowed are finite "
                "numbers, or nothing: then the day before's is taken"
            )
        _one_value_a_day(name, days[~np.isnan(values)], values[~np.isnan(values)])
        columns.append(values)
    length = len(series.values) + ahead
    return on_days(days, np.stack(columns, axis=1), start=series.start, length=length, duplicates="last")


def _one_value_a_day(name: str, days: np.ndarray, values: np.ndarray) -> None:
    order = np.lexsort((values, days))
    days, values = days[order], values[order]
    conflicting = np.flatnonzero((np.diff(days) == 0) & (np.diff(values) != 0))
    if len(conflicting):
        at = int(conflicting[0])
        found = f"{values[at]:g} and {values[at + 1]:g}"
        raise ValueError(
            f"{name} is {found} on {calendar_date(int(days[at]))}; allowed is one value a day (add up what is finer)"
        )

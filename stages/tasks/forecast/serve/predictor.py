"""Forecasts in Nixtla's long format: any number of series in, the seven days after each one's last day out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from numbers import Number
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import numpy as np
import pandas as pd
import torch

from ....data.files import read_json
from ....models.weights import load_network
from ....paths import NETWORK_NAME
from ....serving.predictor import Item, Row, as_number, shown
from ....serving.predictor import Predictor as BasePredictor
from ..data.numbers import PLAIN
from ..data.series import (
    HORIZON,
    MAX_MAGNITUDE,
    MAX_YEAR,
    MIN_HISTORY,
    MIN_YEAR,
    AlignedCovariates,
    Duplicates,
    Series,
    align_covariates,
    calendar_date,
    regularize,
    series_name,
)
from ..model.covariates import Covariates
from ..model.network import build
from ..model.windows import PAST_DAYS, History
from ..params import NEEDED_QUANTILES, ModelParams

BATCH_SIZE = 512  # series at a time

_ZONE = re.compile(r"([T ]\d[\d:.,]*) ?(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)$", re.ASCII)  # after a time of the day

_NAMES = (str, Number, np.bool_, np.datetime64, date, UUID)  # what a series may be called by
_CELLS = (str, bool, np.bool_)  # what may be a value, beside numbers, or a mark of a missing one
_TOO_LARGE = 2**1024  # the first whole number that no float holds
_NONE = ("nan", "snan", "nat")  # what is no text and written so names nothing

Request = tuple[str, History]  # a series by its name in the answer


class Predictor(BasePredictor):
    """Rows are grouped by `unique_id`; a series is repaired by the rules of `series.py`, as the training data was.

    A model that was trained with covariates from the data needs them here under the same names: `past_columns` on the
    series' days, `known_columns` on the seven days ahead as well, in rows whose `y` is empty. For any model, rows
    without `y` after the last one with it are days ahead, and their values nothing to fill.

    A `unique_id` is the text that a CSV of it would hold, without blanks around it, as in the training data: `S1` and
    `S1 ` are one series, the number 1 and the text `1` as well; 1, 1.0 and True are three.

    Several values on a day become one by the rule that the training data was prepared by, `prepare.duplicates`. What
    preprocessing counts and goes on with is refused here, where a person can still mend it: a value that is no finite
    number, and what is not known of a day ahead.
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
        self._covariates = self._network.features.covariates
        self._max_gap_days: int = data["max_gap_days"]
        self._duplicates: Duplicates = data["duplicates"]
        self._quantiles = [1 + self._network.params.quantiles.index(q) for q in NEEDED_QUANTILES]

    @classmethod
    def extra_inputs(cls, folder: Path) -> dict[str, str]:
        described = read_json(folder / NETWORK_NAME)
        covariates = Covariates(ModelParams.model_validate(described["model"]), described["data"])
        return dict.fromkeys((*covariates.known_columns, *covariates.past_columns), "any")

    def to_items(self, frame: pd.DataFrame) -> list[Item]:
        """One item a series, in the order of their first rows."""
        needed = (*self._covariates.known_columns, *self._covariates.past_columns)
        missing = [name for name in needed if name not in frame.columns]
        if missing:
            raise ValueError(f"columns missing: {missing}; found {list(map(str, frame.columns))}")
        frame = frame.assign(**{name: _cells(frame[name]) for name in ("y", *needed)})
        names: Any = np.fromiter(map(_name, frame["unique_id"]), dtype=object, count=len(frame))
        groups: list[tuple[Any, pd.DataFrame]] = list(frame.groupby(names, sort=False))
        return [_item(name, rows) for name, rows in groups]

    def read(self, item: Item) -> Request:
        """The series of one `unique_id`, from its rows in any order."""
        name, rows = series_name("unique_id", item.key["unique_id"] or ""), item.content
        days, series = read_series(rows, duplicates=self._duplicates, max_gap_days=self._max_gap_days)
        next_day = series.start + len(series.values)
        self._check_days(series.start, next_day)
        known, past_columns = self._known(rows, days, series), self._past(rows, days, series)
        return name, History(series.values, next_day, known=known, past=past_columns)

    def _check_days(self, start: int, next_day: int) -> None:
        """Raises ValueError for a day that the network looks at and the table of days does not hold."""
        bounds = self._covariates.days
        read_days = PAST_DAYS if self._network.features.closed_form else self._network.params.context_days
        first, last = max(start, next_day - read_days), next_day + HORIZON - 1
        if bounds and not bounds[0] <= first < last <= bounds[1]:
            table = "holidays" if "holidays" in self._network.params.covariates else "calendar"
            read, known = (f"{calendar_date(a)} to {calendar_date(b)}" for a, b in ((first, last), bounds))
            raise ValueError(f"ds: the model would read the days {read}; allowed: {known}, the range of its {table}")

    def _known(self, rows: pd.DataFrame, days: np.ndarray, series: Series) -> np.ndarray:
        """`known_columns` on the series' days and the seven days ahead, `(time + 7, columns)`."""
        names = self._covariates.known_columns
        found = self._on_days(rows, names, days, series, HORIZON)
        missing = np.argwhere(~found.given[-HORIZON:]).tolist()
        if missing:
            ahead, column = missing[0]
            raise ValueError(
                f"{names[column]} is missing on {calendar_date(series.start + len(series.values) + ahead)}; allowed: "
                f"rows with it, and without y, for each of the {HORIZON} days ahead"
            )
        return found.values

    def _past(self, rows: pd.DataFrame, days: np.ndarray, series: Series) -> np.ndarray:
        """`past_columns` on the series' days, `(time, columns)`."""
        names = self._covariates.past_columns
        found = self._on_days(rows, names, days, series, 0)
        empty = np.flatnonzero(~found.given.any(axis=0))
        if len(empty):
            raise ValueError(f"{names[empty[0]]} is missing on all days; allowed: at least one number")
        return found.values

    def _on_days(
        self, rows: pd.DataFrame, names: Sequence[str], days: np.ndarray, series: Series, ahead: int
    ) -> AlignedCovariates:
        """Covariates on the days of a series and `ahead` more: see `align_covariates`."""
        columns = np.full((len(rows), len(names)), np.nan)
        for index, name in enumerate(names):
            column = rows[name].replace("", np.nan)
            known = column.notna().to_numpy()
            allowed = "finite numbers, or an empty value, which takes that of the day before"
            columns[known, index] = _numbers(name, column[known], days[known], allowed)
        length = len(series.values) + ahead
        return align_covariates(days, columns, names, start=series.start, length=length, duplicates=self._duplicates)

    def predict_batch(self, examples: Sequence[Request], options: Mapping[str, Any]) -> list[list[Row]]:
        answers: list[list[Row]] = []
        for start in range(0, len(examples), BATCH_SIZE):
            requests = examples[start : start + BATCH_SIZE]
            with torch.inference_mode():
                batch = self._network.features.encode([history for _, history in requests])
                forecasts = self._network.forecast(batch).numpy()
            answers.extend(map(self._rows, requests, forecasts))
        return answers

    def _rows(self, request: Request, forecast: np.ndarray) -> list[Row]:
        name, history = request
        return [
            dict(zip(self.outputs, (name, pd.Timestamp(calendar_date(day)), *numbers), strict=True))
            for day, numbers in enumerate(forecast[:, [0, *self._quantiles]].tolist(), history.next_day)
        ]


@dataclass(frozen=True)
class _NoName:
    """What stands for a `unique_id` that names nothing: its type."""

    kind: str


def _name(value: Any) -> str | _NoName:
    """The text of a `unique_id`, without blanks around it; empty where there is none."""
    if value is None or value is pd.NA:
        return ""
    try:
        if isinstance(value, _NAMES):
            text = str(value).strip()
            text.encode()
            return "" if text.lower() in _NONE and not isinstance(value, str) else text
    except ValueError:  # half a surrogate is no text, and no text has thousands of digits
        pass
    return _NoName(type(value).__name__)


def _item(name: str | _NoName, rows: pd.DataFrame) -> Item:
    """The rows of one `unique_id`."""
    if isinstance(name, _NoName):
        return Item(f"the rows whose unique_id is a {name.kind}, not a name", {"unique_id": None}, rows)
    if not name:
        return Item("the rows without unique_id", {"unique_id": None}, rows)
    return Item(f"series {shown(name)}", {"unique_id": name}, rows)


def _cells(column: pd.Series) -> pd.Series:
    """A column in which all that is neither a number nor a text nor nothing is the text that errors show of it: pandas
    would drop the imaginary part of a complex number, count a time in nanoseconds, and fail at others for all rows.
    """
    plain = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)
    return column if plain else column.astype(object).map(_cell)


def _cell(value: Any) -> Any:
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:  # pandas would fail at it for all rows
        return shown(value)
    if value is None or value is pd.NA or value is pd.NaT or isinstance(value, _CELLS):
        return value
    if isinstance(value, Decimal) and not value.is_snan():
        return float(value)
    found = as_number(value)
    return shown(value) if found is None else found


def read_series(rows: pd.DataFrame, *, duplicates: Duplicates, max_gap_days: int) -> tuple[np.ndarray, Series]:
    """The days of some rows with `ds` and `y`, `(rows,)` since 1970-01-01, and the series of those with a value.

    Raises ValueError for what is no date or no number, and Rejection, which is one, for what makes no series.
    """
    days = local_days(rows["ds"])
    past = ~_is_ahead(rows["y"], days)
    missing_day = "(leave a missing day out: it is filled from the same weekday a week earlier)"
    values = _numbers("y", rows["y"][past], days[past], f"finite numbers {missing_day}")
    return days, regularize(days[past], values, duplicates=duplicates, max_gap_days=max_gap_days, min_days=MIN_HISTORY)


def local_days(column: pd.Series) -> np.ndarray:
    """`ds` as days since 1970-01-01, `(rows,)`; of a time with a zone, the date on its own clock, whatever the others'.

    Raises ValueError for what is no date.
    """
    allowed = f"allowed: ISO 8601 dates from {MIN_YEAR} to {MAX_YEAR}, such as 2015-12-31"
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(f"ds holds numbers, such as {column.iloc[0]}; {allowed}")
    try:
        local = column if pd.api.types.is_datetime64_any_dtype(column) else column.map(_without_zone)
        dates = pd.to_datetime(local, format="ISO8601", errors="coerce").dt.tz_localize(None)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"ds: {error}; {allowed}") from None
    bad = np.flatnonzero(~dates.dt.year.between(MIN_YEAR, MAX_YEAR))
    if len(bad):
        raise ValueError(f"ds holds {shown(column.iloc[bad[0]])}; {allowed}")
    return dates.to_numpy(dtype="datetime64[D]").astype(np.int64)


def _without_zone(value: Any) -> Any:
    """A text in ISO 8601 or a `datetime`, without its offset from UTC: the same clock, summer time included."""
    if isinstance(value, str):
        return _ZONE.sub(r"\1", value.strip())
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return value if isinstance(value, date | np.datetime64) else None


def _is_ahead(column: pd.Series, days: np.ndarray) -> np.ndarray:
    """Which rows only tell of days ahead: those without a value after the last one with a value, `(rows,)` bool."""
    empty = (column.isna() | (column.astype(str).str.strip() == "")).to_numpy(dtype=bool)
    last = days[~empty].max(initial=np.iinfo(np.int64).min)
    return empty & (days > last)


def _numbers(name: str, column: pd.Series, days: np.ndarray, allowed: str) -> np.ndarray:
    """Raises ValueError for what is no number, or text of a plain one: a decimal point, nothing between thousands."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~(np.abs(values) <= MAX_MAGNITUDE))
    if len(bad):
        found = column.iloc[bad[0]]
        plain = (
            "; numbers as text need a decimal point and no thousands separator"
            if PLAIN.hint(str(found).strip())
            else ""
        )
        raise ValueError(f"{name} is {found} on {calendar_date(int(days[bad[0]]))}; allowed: {allowed}{plain}")
    return values

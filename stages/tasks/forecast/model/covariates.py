"""What is known of a day: its place in the week and in the year, holidays around it, the data's own columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from ..data.series import day_number, weekday
from ..params import ModelParams

_DAYS_IN_YEAR = 365.25
_HARMONICS = 2  # waves a year and half a year long: measured, a third one fits the noise of a few years


class Covariates:
    """The covariates that `model.covariates` chooses, of data as preprocess described it.

    `known` numbers a day can be had of any day ahead, `past` ones of days that have been. Raises ValueError where the
    data lacks what is chosen.
    """

    def __init__(self, params: ModelParams, data: Mapping[str, Any]) -> None:
        chosen = params.covariates
        self._week, self._year = "day_of_week" in chosen, "day_of_year" in chosen
        self._holidays: np.ndarray | None = None
        if "holidays" in chosen:
            self._first_day, self._holidays = _holiday_features(_required(data, "holidays"), params.holiday_days)
        self.known_columns: Sequence[str] = _required(data, "known_columns") if "known_columns" in chosen else []
        self.past_columns: Sequence[str] = _required(data, "past_columns") if "past_columns" in chosen else []
        self.known_moments, self.past_moments = (
            np.array([data["moments"][name] for name in names]).reshape(-1, 2).T
            for names in (self.known_columns, self.past_columns)
        )
        self.known = 7 * self._week + 2 * _HARMONICS * self._year + len(self.known_columns)
        self.known += 0 if self._holidays is None else self._holidays.shape[1]
        self.past = len(self.past_columns)

    @property
    def days(self) -> tuple[int, int] | None:
        """First and last day that the holidays are known of, in days since 1970-01-01; None where all days will do."""
        return None if self._holidays is None else (self._first_day, self._first_day + len(self._holidays) - 1)

    def calendar(self, days: np.ndarray) -> np.ndarray:
        """Days since 1970-01-01 of any shape `(…)` to `(…, features)`, float32.

        `day_of_week` is one-hot, Monday first; `day_of_year` is the sine and the cosine of waves a year and half a year
        long; `holidays` has a number for each holiday and each of the days around it, 1 where it is that day.
        """
        parts = [np.empty((*days.shape, 0), dtype=np.float32)]
        if self._week:
            parts.append(np.eye(7, dtype=np.float32)[weekday(days)])
        if self._year:
            dates = days.astype("datetime64[D]")
            angle = (dates - dates.astype("datetime64[Y]")).astype(np.float64) * (2 * np.pi / _DAYS_IN_YEAR)
            waves = [wave(k * angle) for k in range(1, _HARMONICS + 1) for wave in (np.sin, np.cos)]
            parts.append(np.stack(waves, axis=-1).astype(np.float32))
        if self._holidays is not None:
            parts.append(self._holidays[days - self._first_day])
        return np.concatenate(parts, axis=-1)


def standardize(values: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Values `(…, columns)` in deviations from their mean; `moments` are both, `(2, columns)`. float32."""
    mean, deviation = moments
    return ((values - mean) / deviation).astype(np.float32)


def _required(data: Mapping[str, Any], key: str) -> Any:
    if not data.get(key):
        raise ValueError(
            f"model.covariates: found {key}; the data has none: prepare.{key} is empty, or names nothing seen"
        )
    return data[key]


def _holiday_features(table: Mapping[str, Any], reach: int) -> tuple[int, np.ndarray]:
    """The first day of a holiday table, and for each of its days `(days, holidays · (2 · reach + 1))`, float32: whether
    the day is `reach` days before the holiday, …, is it, … is `reach` days after it.
    """
    first, end = (day_number(date(year, 1, 1)) for year in (table["first_year"], table["last_year"] + 1))
    features = np.zeros((end - first, len(table["days"]), 2 * reach + 1), dtype=np.float32)
    for column, days in enumerate(table["days"].values()):
        for day in days:
            for offset in range(-reach, reach + 1):
                row = day_number(date.fromisoformat(day)) - first + offset
                if 0 <= row < len(features):
                    features[row, column, offset + reach] = 1.0
    return first, features.reshape(len(features), -1)

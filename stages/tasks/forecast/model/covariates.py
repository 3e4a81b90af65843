"""What is known of a day: its place in the week and in the year, holidays around it, the data's own columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from ..data.holidays import FIRST_YEAR, LAST_YEAR
from ..data.series import day_number, weekday
from ..params import ModelParams

_DAYS_IN_YEAR = 365.25
_EFFECT_HARMONICS = 6  # of the closed form, whose penalty keeps what is noise small
_EASTER_DAYS = 7  # before and after it
_HARMONICS = 2  # waves a year and half a year long: measured, a third one fits the noise of a few years


class Covariates:
    """The covariates that `model.covariates` chooses, of data as preprocess described it.

    `known` numbers a day can be had of any day ahead, `past` ones of days that have been. Raises ValueError where the
    data lacks what is chosen.
    """

    def __init__(self, params: ModelParams, data: Mapping[str, Any]) -> None:
        chosen = params.covariates
        self._week, self._year = "day_of_week" in chosen, "day_of_year" in chosen
        first_year, last_year = FIRST_YEAR, LAST_YEAR
        if data.get("first_day"):  # as the holidays' table reaches
            first_year = min(first_year, date.fromisoformat(data["first_day"]).year - 1)
            last_year = max(last_year, date.fromisoformat(data["last_day"]).year + 1)
        # First and last day of tables of days.
        self.table_days = (day_number(date(first_year, 1, 1)), day_number(date(last_year, 12, 31)))
        self._closed_form, self._dates = params.linear == "closed_form", params.dates
        self._holiday_days = params.holiday_days
        self._holidays: np.ndarray | None = None
        if "holidays" in chosen:
            self._first_day, self._holidays = _holiday_features(_required(data, "holidays"), params.holiday_days)
            self.table_days = (self._first_day, self._first_day + len(self._holidays) - 1)
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
        """First and last day that can be told of, in days since 1970-01-01; None where all days will do."""
        return None if self._holidays is None and not self._closed_form else self.table_days

    def effects(self, days: np.ndarray, *, dates: bool) -> np.ndarray:
        """What a linear regression is told of days since 1970-01-01 `(days,)`: `(days, numbers)`, float64.

        Beside `calendar`, with more waves, the season of each weekday (their products), and holidays and the days
        beside them apart on working days, Mondays and Fridays. With `dates`, where params ask for them, each date of
        the year and the days about Easter by themselves, for what recurs and is no holiday.
        """
        parts = [np.empty((len(days), 0))]
        week, angle = np.eye(7)[weekday(days)], _angle(days)
        if self._week:
            parts.append(week)
        if self._year:
            harmonics = range(1, (_EFFECT_HARMONICS if self._week or self._dates else _HARMONICS) + 1)
            waves = np.stack([wave(k * angle) for k in harmonics for wave in (np.sin, np.cos)], axis=-1)
            parts.append(waves)
            if self._week:
                parts.append((week[:, :, None] * waves[:, None]).reshape(len(days), -1))
        if self._holidays is not None:
            holidays = self._holidays[days - self._first_day].astype(np.float64)
            parts.append(holidays)
            if self._week:
                reach = self._holiday_days
                near = holidays.reshape(len(days), -1, 2 * reach + 1)[:, :, max(0, reach - 1) : reach + 2]
                near = near.reshape(len(days), -1)
                working = week[:, :5].sum(axis=1)
                parts += [near * kind[:, None] for kind in (working - 0.5, week[:, 0], week[:, 4])]
        if dates and self._dates:
            day = days.astype("datetime64[D]")
            month = day.astype("datetime64[M]")
            date_of_year = month.astype(np.int64) % 12 * 31 + (day - month).astype(np.int64)
            parts.append(np.eye(12 * 31)[date_of_year])
            after = days - _easter(day.astype("datetime64[Y]").astype(np.int64) + 1970)
            parts.append((after[:, None] == np.arange(-_EASTER_DAYS, _EASTER_DAYS + 1)).astype(np.float64))
        return np.concatenate(parts, axis=1)

    def calendar(self, days: np.ndarray) -> np.ndarray:
        """Days since 1970-01-01 of any shape `(…)` to `(…, features)`, float32.

        `day_of_week` is one-hot, Monday first; `day_of_year` is the sine and the cosine of waves a year and half a year
        long; `holidays` has a number for each holiday and each of the days around it, 1 where it is that day.
        """
        parts = [np.empty((*days.shape, 0), dtype=np.float32)]
        if self._week:
            parts.append(np.eye(7, dtype=np.float32)[weekday(days)])
        if self._year:
            angle = _angle(days)
            waves = [wave(k * angle) for k in range(1, _HARMONICS + 1) for wave in (np.sin, np.cos)]
            parts.append(np.stack(waves, axis=-1).astype(np.float32))
        if self._holidays is not None:
            parts.append(self._holidays[days - self._first_day])
        return np.concatenate(parts, axis=-1)


def _angle(days: np.ndarray) -> np.ndarray:
    """How far a day is in its year, in radians."""
    dates = days.astype("datetime64[D]")
    return (dates - dates.astype("datetime64[Y]")).astype(np.float64) * (2 * np.pi / _DAYS_IN_YEAR)


def _easter(years: np.ndarray) -> np.ndarray:
    """The day of Easter Sunday, since 1970-01-01, of the Gregorian calendar's years (Meeus, "Astronomical Algorithms",
    2nd edition, chapter 8).
    """
    a, b, c = years % 19, years // 100, years % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    weekdays = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * weekdays) // 451
    months, days = np.divmod(h + weekdays - 7 * m + 114, 31)
    start = ((years - 1970) * 12 + months - 1).astype("datetime64[M]").astype("datetime64[D]")
    return start.astype(np.int64) + days


def standardize(values: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Values `(…, columns)` in deviations from their mean; `moments` are both, `(2, columns)`. float32."""
    mean, deviation = moments
    return ((values - mean) / deviation).astype(np.float32)


def _required(data: Mapping[str, Any], key: str) -> Any:
    if not data.get(key):
        raise ValueError(
            f"model.covariates: found {key}, but the data has none: prepare.{key} is empty or names nothing in the data"
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

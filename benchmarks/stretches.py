"""Years of a champion's errors in which nothing changes, made and real: what `control_chart` is measured on."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from stages.monitoring.control_chart import standardized

from .data import REPOSITORY

SERIES = REPOSITORY.parent / "shared" / "data" / "series"
YEAR = 365
MADE = 40  # stretches of each kind
EPOCH = datetime.date(1970, 1, 1)
_MOMENTS, _LAGS = 56, 28  # days that scale a window of the ridge regression, and that it sees


@dataclass(frozen=True, slots=True)
class Stretch:
    """Standardized errors of a champion, `(days,)`: of its test split, and of the year after it."""

    kind: str
    days: np.ndarray
    errors: np.ndarray
    split: int  # days of the test split
    raised: Callable[[int, float], np.ndarray] | None = None  # real: errors where the series is raised from a day on

    @property
    def real(self) -> bool:
        return self.raised is not None


def typical_deviation(errors: np.ndarray) -> float:
    """Of the errors of a test split, without the 1 % that lie farthest out at either end: a holiday is no measure."""
    low, high = np.quantile(errors, [0.01, 0.99])
    return float(np.clip(errors, low, high).std())


def made(seed: int) -> Iterator[Stretch]:
    """Drawn errors of five kinds."""
    generator = np.random.default_rng(seed)
    days = np.arange(2 * YEAR)
    for _ in range(MADE):
        noise = generator.standard_normal(2 * YEAR + 50)
        alike = noise.copy()
        for day in range(1, len(noise)):
            alike[day] = 0.3 * alike[day - 1] + np.sqrt(1 - 0.3**2) * noise[day]
        season = 1 + 0.3 * np.sin(2 * np.pi * (days + generator.integers(YEAR)) / YEAR)
        kinds = {
            "independent, normal": noise[50:],
            "alike from day to day, 0.3": alike[50:],
            "heavy tails, t with 5 degrees": generator.standard_t(5, 2 * YEAR),
            "skewed, band too narrow by a third": 1.5 * (np.exp(0.5 * noise[50:]) - np.exp(0.125)),
            "spread of the season, ± 30 %": noise[50:] * season,
        }
        yield from (Stretch(kind, days, errors, YEAR) for kind, errors in kinds.items())


def real() -> Iterator[Stretch]:
    """The errors of the ridge regression on the team's series, year after year."""
    for name, series in _series().items():
        values, days = series.to_numpy(dtype=float), series.index.to_numpy().astype("datetime64[D]").astype(np.int64)
        short = len(values) < 1600
        learned, split = (350, 270) if short else (3 * YEAR, YEAR)
        starts = [0] if short else range(0, len(values) - learned - split - YEAR + 1, YEAR)
        for start in starts:
            end = min(len(values), start + learned + split + YEAR)
            champion = _Ridge(values[start : start + learned], days[start : start + learned], holidays=not short)
            after = slice(start + learned - _MOMENTS, end)
            yield _stretch(name, champion, values[after], days[after], split)


def _stretch(name: str, champion: _Ridge, values: np.ndarray, days: np.ndarray, split: int) -> Stretch:
    """The days after the first `_MOMENTS`."""
    sigma = typical_deviation(champion.residuals(values[: _MOMENTS + split], days[: _MOMENTS + split]))

    def raised(day: int, by: float) -> np.ndarray:
        return champion.errors(values + by * sigma * (np.arange(len(values)) >= _MOMENTS + day), days)

    return Stretch(name, days[_MOMENTS:], champion.errors(values, days), split, raised)


def _series() -> dict[str, pd.Series]:
    found = {}
    rides = pd.read_csv(SERIES / "CTA_-_Ridership_-_Daily_Boarding_Totals.csv").drop_duplicates("service_date")
    rides.index = pd.to_datetime(rides["service_date"])
    found["Chicago's bus"], found["Chicago's rail"] = rides["bus"], rides["rail_boardings"]
    for file in ("US_births_1994-2003_CDC_NCHS.csv", "US_births_2000-2014_SSA.csv"):
        births = pd.read_csv(SERIES / file)
        parts = births[["year", "month", "date_of_month"]].rename(columns={"date_of_month": "day"})
        births.index = pd.DatetimeIndex(pd.to_datetime(parts))
        found[f"births {file[10:19]}"] = births["births"]
    melbourne = pd.read_csv(SERIES / "daily-min-temperatures.csv", parse_dates=["Date"], index_col="Date")
    found["Melbourne"] = pd.to_numeric(melbourne["Temp"], errors="coerce")
    for name, row in pd.read_csv(SERIES / "M4-Daily-train-sample.csv", index_col=0).iterrows():
        values = row.dropna().astype(float).to_numpy()
        if len(values) > 900:  # its days have no dates
            found[f"M4 {name}"] = pd.Series(values, index=pd.date_range("2010-01-01", periods=len(values)))
    return {name: series.sort_index().asfreq("D").interpolate() for name, series in found.items()}


class _Ridge:
    """Forecasts the next day, with a band from the errors of its last 120 days of learning."""

    def __init__(self, values: np.ndarray, days: np.ndarray, *, holidays: bool) -> None:
        self._holidays = holidays
        features, mean, deviation = self._features(values, days)
        targets = (values[_MOMENTS:] - mean) / deviation
        learned = len(targets) - 120
        inner = features[:learned].T @ features[:learned] + np.eye(features.shape[1])
        self._weights = np.linalg.solve(inner, features[:learned].T @ targets[:learned])
        self._band = np.quantile(targets[learned:] - features[learned:] @ self._weights, [0.05, 0.5, 0.95])

    def errors(self, values: np.ndarray, days: np.ndarray) -> np.ndarray:
        """Standardized, of all but the first `_MOMENTS` days."""
        features, mean, deviation = self._features(values, days)
        quantiles = (mean + deviation * (features @ self._weights + part) for part in self._band)
        return standardized(values[_MOMENTS:], *quantiles)

    def residuals(self, values: np.ndarray, days: np.ndarray) -> np.ndarray:
        """The same in the series' unit, from the median."""
        features, mean, deviation = self._features(values, days)
        return values[_MOMENTS:] - (mean + deviation * (features @ self._weights + self._band[1]))

    def _features(self, values: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        windows = np.lib.stride_tricks.sliding_window_view(values, _MOMENTS)[:-1]
        mean = windows.mean(axis=1)
        deviation = np.maximum(windows.std(axis=1), 1e-4 * np.abs(mean) + 1e-12)
        ahead = days[_MOMENTS:]
        year = 2 * np.pi * ahead[:, None] * np.array([1, 2]) / 365.25
        parts = [
            (windows[:, -_LAGS:] - mean[:, None]) / deviation[:, None],
            np.eye(7)[ahead % 7],
            np.sin(year),
            np.cos(year),
        ]
        if self._holidays:
            parts.append(_holiday_features(tuple(ahead.tolist())))
        return np.concatenate(parts, axis=1), mean, deviation


@cache
def _holiday_names() -> dict[int, str]:
    import holidays

    years = range(1980, 2020)
    named = {day: name.replace(" (observed)", "") for day, name in holidays.country_holidays("US", years=years).items()}
    around = [(12, 23), (12, 24), *((12, day) for day in range(26, 32)), (1, 2), (1, 3)]
    for year in years:
        for month, day in around:
            named.setdefault(datetime.date(year, month, day), f"{month}-{day}")
    return {(day - EPOCH).days: name for day, name in named.items()}


@cache
def _holiday_features(days: tuple[int, ...]) -> np.ndarray:
    """Whether a holiday is, was the day before, or comes the day after."""
    by_day = _holiday_names()
    names = sorted(set(by_day.values()))
    features = np.zeros((len(days), 3 * len(names)))
    for row, day in enumerate(days):
        for shift in (-1, 0, 1):
            if name := by_day.get(day + shift):
                features[row, 3 * names.index(name) + shift + 1] = 1.0
    return features

"""A control chart for forecasts: has a model's error changed for good, or was it just a bad day?

It sees one number per series and day: how far the day lay from the median, in units of the band that the model itself
gave (`standardized`). From that, three charts, each a CUSUM (Page, 1954, https://doi.org/10.1093/biomet/41.1-2.100):

- `level`: forecasts are too low or too high, by one standard deviation of the error or more (k = 0.5, both sides).
- `spread`: errors have become larger in both directions, twice as large or more.
- `weekday`: errors repeat themselves from week to week: the product of a day's error with those of the same weekday
  one and two weeks before, each less the mean of its last seven days, so that a level alone is no pattern.

Three properties of real errors would make a CUSUM raise false alarms; each is dealt with:

- Errors are not normal, and bands are not quite right: a day counts by its rank among the errors of the version's own
  test split, as a normal score (28 values of an ideal model stand beside them, so that few days can be ranked, too).
- Errors of one day resemble those of the day before, and of the weeks before. What a day adds to a chart is divided by
  the square root of how much more the sum of two weeks varies than one of as many unlike numbers, never less than 1
  (as Johnson and Bagshaw correct for, 1974, https://doi.org/10.1080/00401706.1974.10489155): in the test split, and
  more and more in the days that have come since, four weeks ago or longer, since a change makes errors alike as well.
- No day counts for more than four standard deviations: a holiday is no change of level.

An alarm sets its chart back to 0; a change that lasts raises the next one. All of it looks back only.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..params import AlarmParams

CHARTS = ("level", "spread", "weekday")
# What each chart takes off a day: about half of what a change that matters adds to it.
_SLACK = {"level": 0.5, "spread": 0.5, "weekday": 0.7}
_IDEAL_DAYS = 28  # values of an ideal model beside the errors of the test split
_LIMIT_OF_A_DAY = 4.0
_DELAY = 28  # days after which a day may tell how alike days are
_WINDOW = 14  # days
_REFERENCE_WINDOWS = 182  # that the test split's persistence counts for, beside those that have come since
_WEEK = 7
_MIN_DAYS = 4  # of the last seven, for their mean
_MEAN_SIZE, _SIZE_DEVIATION = 0.7979, 0.6028  # of the absolute value of a standard normal number
_MOST = 1e6
_Q95 = NormalDist().inv_cdf(0.95)


def standardized(actual: np.ndarray, q05: np.ndarray, q50: np.ndarray, q95: np.ndarray) -> np.ndarray:
    """How far values lay from the median, in standard deviations of a normal distribution with the same band, whose
    halves may differ: -1.64 at the 5 % quantile, 1.64 at the 95 %. All arguments alike in shape, as the result.

    A band without width gives 0 where it was right and a million where it was not.
    """
    distance = np.asarray(actual, dtype=np.float64) - q50
    half = np.where(distance < 0, np.subtract(q50, q05), np.subtract(q95, q50))
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(distance == 0, 0.0, _Q95 * distance / np.maximum(half, 0.0))
    return np.clip(errors, -_MOST, _MOST)


@dataclass(frozen=True, slots=True)
class Reference:
    """The errors of a version where nothing had changed: on its test split."""

    errors: np.ndarray  # (n,) ascending, the ideal ones among them
    scores: np.ndarray  # (n,), the normal score of each
    means: Mapping[str, float]  # by chart, of what a day adds
    persistence: Mapping[str, float]  # by chart, see `_Persistence`

    @staticmethod
    def of(days: Sequence[int], errors: np.ndarray) -> Reference:
        """From standardized errors `(n,)` and their days, ascending; none at all makes an ideal model's reference."""
        known = ~np.isnan(errors)
        among = np.sort(np.concatenate([errors[known], _normal_scores(_IDEAL_DAYS)]))
        ranked = Reference(among, _normal_scores(len(among)), {}, {})
        sizes, by_chart = _Sizes(), {chart: [0.0] for chart in CHARTS}
        for day, error in zip(np.asarray(days)[known].tolist(), errors[known].tolist(), strict=True):
            for chart, size in sizes.of(day, ranked.score(error)).items():
                by_chart[chart].append(size)
        means = {chart: float(np.mean(found)) for chart, found in by_chart.items()}
        persistence = {chart: _Persistence() for chart in CHARTS}
        for chart, found in by_chart.items():
            for size in found:
                persistence[chart].add(size - means[chart])
        return Reference(among, ranked.scores, means, {chart: one.value() for chart, one in persistence.items()})

    def score(self, error: float) -> float:
        """The normal score of an error by its rank among these; beyond them, in proportion to the outermost."""
        errors, scores = self.errors, self.scores
        for end in (0, -1):
            outermost = float(errors[end])
            if outermost and error / outermost > 1 and (error > 0) == (end == -1):
                return float(np.clip(scores[end] * error / outermost, -_LIMIT_OF_A_DAY, _LIMIT_OF_A_DAY))
        return float(np.interp(error, errors, scores))


@dataclass(frozen=True, slots=True)
class Point:
    """A day on the charts of a series."""

    day: int  # since 1970-01-01
    score: float  # of the day's error, in standard deviations
    above: float  # the two sides of `level`
    below: float
    spread: float
    weekday: float
    alarms: tuple[str, ...]  # of CHARTS


class ControlChart:
    """The charts of one series; a day is added once what came is known, days ascending."""

    def __init__(self, limits: AlarmParams) -> None:
        self._limits = {"level": limits.level, "spread": limits.spread, "weekday": limits.weekday}
        self._sizes = _Sizes()
        self._sums = dict.fromkeys(("above", "below", "spread", "weekday"), 0.0)
        self._persistence = {chart: _Persistence() for chart in CHARTS}
        self._waiting: deque[tuple[int, Mapping[str, float]]] = deque()

    def add(self, day: int, error: float, reference: Reference) -> Point:
        """Add the standardized error of a day, given the reference of the version that made the forecast."""
        score = reference.score(error)
        sizes = self._sizes.of(day, score)
        while self._waiting and self._waiting[0][0] <= day - _DELAY:
            for chart, size in self._waiting.popleft()[1].items():
                self._persistence[chart].add(size)
        self._waiting.append((day, sizes))
        for chart, size in sizes.items():
            size = (size - reference.means[chart]) / math.sqrt(
                self._persistence[chart].shared(reference.persistence[chart])
            )
            sides = {"above": size, "below": -size} if chart == "level" else {chart: size}
            for side, value in sides.items():
                self._sums[side] = max(0.0, self._sums[side] + value - _SLACK[chart])
        point = Point(day, score, **self._sums, alarms=tuple(filter(self._is_beyond, CHARTS)))
        for chart in point.alarms:
            for side in ("above", "below") if chart == "level" else (chart,):
                self._sums[side] = 0.0
        return point

    def _is_beyond(self, chart: str) -> bool:
        sums = self._sums
        return (max(sums["above"], sums["below"]) if chart == "level" else sums[chart]) > self._limits[chart]


class _Sizes:
    """What a day adds to each chart, before it is divided by what correlation makes of it: mean 0, deviation 1, where
    nothing has changed.
    """

    def __init__(self) -> None:
        self._scores: dict[int, float] = {}
        self._local: dict[int, float] = {}  # less the mean of the last seven days

    def of(self, day: int, score: float) -> dict[str, float]:
        """By chart; `weekday` only where there is the same weekday to compare with."""
        sizes = {"level": score, "spread": (abs(score) - _MEAN_SIZE) / _SIZE_DEVIATION}
        self._scores = {known: value for known, value in self._scores.items() if known > day - _WEEK} | {day: score}
        count = len(self._scores)
        if count >= _MIN_DAYS:
            local = (score - sum(self._scores.values()) / count) * math.sqrt(count / (count - 1))
            before = [self._local[day - lag] for lag in (_WEEK, 2 * _WEEK) if day - lag in self._local]
            self._local = {known: value for known, value in self._local.items() if known > day - 2 * _WEEK - 1}
            self._local[day] = local
            if before:
                sizes["weekday"] = local * sum(before) / math.sqrt(len(before))
        return sizes


class _Persistence:
    """How much more the sum of two weeks varies than one of as many numbers without memory, as the numbers come."""

    def __init__(self) -> None:
        self._window: deque[float] = deque(maxlen=_WINDOW)
        self._windows = 0
        self._count = 0
        self._squares_of_sums = self._squares = 0.0

    def add(self, number: float) -> None:
        self._window.append(number)
        self._count += 1
        self._squares += number * number
        if len(self._window) == _WINDOW:
            self._windows += 1
            self._squares_of_sums += sum(self._window) ** 2

    def value(self) -> float:
        """A ratio of variances; 1 where there is too little to say."""
        if not self._windows or not self._squares:
            return 1.0
        return self._squares_of_sums / (self._windows * _WINDOW) / (self._squares / self._count)

    def shared(self, other: float) -> float:
        """The mean of it and that of the test split, not less than 1."""
        mixed = (_REFERENCE_WINDOWS * other + self._windows * self.value()) / (_REFERENCE_WINDOWS + self._windows)
        return max(mixed, 1.0)


def _normal_scores(count: int) -> np.ndarray:
    """Quantiles of the standard normal distribution, `(count,)`, ascending, in the middle of equal shares."""
    quantile = NormalDist().inv_cdf
    return np.array([quantile((place + 0.5) / count) for place in range(count)])

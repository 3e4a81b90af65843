"""Daily series as a profile holds them: a line a week, of the four weeks that end with it.

The four weeks' values are a table of weeks and weekdays. Its mean is the level, the means of its weekdays less that the
weekly pattern, and what neither the week nor the weekday explains the spread: so a level moves neither of the others.

Of few series each has its own lines. Of many, one series stands for all: the mean over them of each day's value, in
deviations of its own, so that what all shops have in common, a holiday or a cold spring, is one observation and not a
thousand. Weeks are counted back from the last day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

WEEK = 7
WEEKS = 4  # of a line
DAYS = WEEK * WEEKS
MOST_SERIES = 8  # that have lines of their own
MOST_POOLED = 1000  # series that the pooled one is the mean of, evenly over their names
POOLED = "all series"
LINES = ("level", "spread", "pattern")
_MOST_LINES = 313  # six years
_DIGITS = 6  # significant ones, of a number in a profile
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySeries:
    """A series without holes."""

    name: str
    start: int  # the first day, in days since 1970-01-01
    values: np.ndarray  # (days,) float64
    observed: np.ndarray  # (days,) bool, false where a missing day was filled

    @property
    def last_day(self) -> int:
        """In days since 1970-01-01."""
        return self.start + len(self.values) - 1


def described(series: Sequence[DailySeries]) -> dict[str, Any]:
    """What a profile holds of the series that were learned: the lines of each or, of many, of the pooled one, and by
    which mean and deviation each goes into that. Nothing of series that are too short.
    """
    whole = sorted((one for one in series if len(one.values) >= 2 * DAYS), key=lambda one: one.name)
    if not whole:
        return {}
    if len(whole) <= MOST_SERIES:
        return {"lines": {short_name(one.name): _lines(one) for one in whole}}
    if len(whole) > MOST_POOLED:
        whole = [whole[place * len(whole) // MOST_POOLED] for place in range(MOST_POOLED)]
    scales = {short_name(one.name): [_rounded(one.values.mean()), _rounded(one.values.std() or 1.0)] for one in whole}
    return {"lines": {POOLED: _lines(pooled(whole, scales))}, "scales": scales}


def comparable(learned: Mapping[str, Any], series: Sequence[DailySeries]) -> list[DailySeries]:
    """The series that a profile has lines of, of those at hand, by the names that it knows them under."""
    if "scales" not in learned:
        known = [(short_name(one.name), one) for one in series]
        return [
            DailySeries(name=name, start=one.start, values=one.values, observed=one.observed)
            for name, one in known
            if name in learned.get("lines", {})
        ]
    known_series = [one for one in series if short_name(one.name) in learned["scales"]]
    return [pooled(known_series, learned["scales"])] if known_series else []


def pooled(series: Sequence[DailySeries], scales: Mapping[str, Sequence[float]]) -> DailySeries:
    """The series that stands for many: on each day the mean over those that have it, in their deviations."""
    start, last = min(one.start for one in series), max(one.last_day for one in series)
    sums, seen, counts = np.zeros((3, last - start + 1))
    for one in series:
        days = slice(one.start - start, one.last_day - start + 1)
        mean, deviation = scales[short_name(one.name)]
        sums[days] += (one.values - mean) / deviation
        seen[days] += one.observed
        counts[days] += 1
    values = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return DailySeries(name=POOLED, start=start, values=values, observed=2 * seen > counts)


def short_name(name: str) -> str:
    """A series' name as a profile knows it; of a long one, its beginning and a hash."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 18]}…{blake2b(name.encode(), digest_size=8).hexdigest()}"


def four_weeks(values: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Level, variance and weekly pattern `(7,)` of `(28,)` days; the pattern begins with the weekday of the first."""
    table = values.reshape(WEEKS, WEEK)
    level = table.mean()
    pattern = table.mean(axis=0) - level
    rest = table - table.mean(axis=1, keepdims=True) - pattern
    return float(level), float((rest**2).sum() / ((WEEKS - 1) * (WEEK - 1))), pattern


def _lines(series: DailySeries) -> dict[str, Any]:
    """The newest last: level; spread, the cube root of the variance; pattern, that of the mean square of its distance
    from the mean pattern, both in units of the usual variance. `pattern_mean` begins with a Monday.
    """
    count = min(_MOST_LINES, (len(series.values) - DAYS) // WEEK + 1)
    ends = len(series.values) - WEEK * np.arange(count)[::-1]
    found = [four_weeks(series.values[end - DAYS : end]) for end in ends.tolist()]
    levels, variances, patterns = (np.array(column) for column in zip(*found, strict=True))
    variance = float(variances.mean()) or 1.0
    mean = patterns.mean(axis=0)
    distances = ((patterns - mean) ** 2).mean(axis=1)
    missing = ~series.observed
    return {
        "last_day": series.last_day,
        "level": list(map(_rounded, levels)),
        "spread": [_rounded(cube_root(one, variance)) for one in variances],
        "pattern": [_rounded(cube_root(one, variance)) for one in distances],
        "variance": _rounded(variance),
        "pattern_mean": list(map(_rounded, np.roll(mean, first_weekday(series.last_day + 1 - DAYS)))),
        "days": len(series.values),
        "missing": int(missing.sum()),
    }


def cube_root(square: float, variance: float) -> float:
    """Of a variance or a mean square, in units of the usual variance. It is nearly normal where its square is a sum of
    squares of normal numbers (Wilson and Hilferty 1931).
    """
    return float(np.cbrt(square / variance))


def first_weekday(day: int) -> int:
    """0 for Monday to 6 for Sunday, of a day since 1970-01-01, which was a Thursday."""
    return (day + 3) % WEEK


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")

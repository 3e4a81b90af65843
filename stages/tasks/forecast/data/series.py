"""From observations in any order to a series without holes, by stated rules; the same in preprocessing and in serving.

1. Days are put in order.
2. The values of one day become one value: the first, the last (in the file's order), their mean or their sum. Where
   `duplicates` refuses several, they must be equal.
3. Where more than `max_gap_days` days in a row are missing, only what follows the last such gap is kept.
4. Any other missing day takes the value of the same weekday a week earlier, or the value of the day before where that
   weekday has no observation so far. It counts as not observed: it may be an input, never a target.

Covariates are put on the same days: several on one day become one as rule 2 says, but for `sum` their mean; a missing
one takes the day before's, and 0 before the first. One that is known in advance reaches past the last value.

All of it looks back only, so that no value is ever made from a later one. Zeros are values like others; every value
the same is a constant series, which is refused. 29 February is a day like others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

import numpy as np

Duplicates = Literal["refuse", "first", "last", "mean", "sum"]

HORIZON = 7  # days ahead
SEASON = 7  # days after which a daily series repeats itself
MIN_HISTORY = 14  # days before an origin: two weeks
MAX_MAGNITUDE = 1e15  # beyond it, float32 networks overflow
MIN_YEAR, MAX_YEAR = 1700, 2250  # what pandas' nanoseconds can hold
_EPOCH = date(1970, 1, 1).toordinal()


class Rejection(ValueError):
    """A series or a record that cannot be used; `rule` is the short name it is counted under."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A daily series without holes."""

    start: int  # the first day, in days since 1970-01-01
    values: np.ndarray  # (time,) float64
    observed: np.ndarray  # (time,) bool, false where a missing day was filled
    before_gap: int  # values that are left out, since a long gap follows them
    repairs: dict[str, int]  # rule → how many observations or days it touched, but for days that were filled
    examples: dict[str, str]  # rule → the first of them

    @property
    def unobserved_weekdays(self) -> list[int]:
        """The weekdays that no value falls on, 0 for Monday."""
        observed = np.flatnonzero(self.observed)
        return sorted(set(range(SEASON)) - set(weekday(self.start + observed).tolist()))


def series_name(column: str, text: str) -> str:
    """The name of a series as its column holds it, without blanks around it. Raises Rejection where there is none."""
    if not (name := text.strip()):
        raise Rejection("id", f"{column} is missing; allowed: a name for each series")
    return name


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH


def calendar_date(day: int) -> date:
    """The date of a number of days since 1970-01-01."""
    return date.fromordinal(day + _EPOCH)


def weekday(days: np.ndarray) -> np.ndarray:
    """0 for Monday to 6 for Sunday, of days since 1970-01-01, which was a Thursday."""
    return (days + 3) % 7


def regularize(
    days: np.ndarray, values: np.ndarray, *, duplicates: Duplicates, max_gap_days: int, min_days: int
) -> Series:
    """The series of some observations: `days` `(n,)` integers since 1970-01-01, `values` `(n,)`, NaN where missing.

    Raises Rejection for a series that is not daily, has fewer than `min_days` days, never changes, or has different
    values on a day where `duplicates` refuses them.
    """
    known = ~np.isnan(values)
    days, values = np.asarray(days, dtype=np.int64)[known], np.asarray(values, dtype=np.float64)[known]
    if not len(days):
        raise Rejection("too_short", f"no values; allowed: at least {min_days} days")
    unsorted, examples = np.flatnonzero(days < np.maximum.accumulate(days)), {}
    if len(unsorted):
        earlier, later = (calendar_date(int(day)) for day in (days[unsorted[0]], days[: unsorted[0]].max()))
        examples["unsorted_row"] = f"{earlier} after {later}"
    order = np.argsort(days, kind="stable")
    values = values[order]
    days, first = np.unique(days[order], return_index=True)
    counts = np.diff(first, append=len(values))
    conflicts, examples["conflicting_day"] = _conflicts(days, values, first, duplicates)
    conflicting = int((counts[conflicts] - 1).sum())
    equal = np.setdiff1d(np.flatnonzero(counts > 1), conflicts)
    if len(equal):
        examples["duplicate_row"] = str(calendar_date(int(days[equal[0]])))
    partial, examples["partial_day"] = _partial(days, counts) if duplicates == "sum" else (0, "")
    values = _aggregate(values, first, duplicates)

    spacing = np.diff(days)
    if len(spacing) and np.median(spacing) > 1:
        raise Rejection("not_daily", f"one value every {np.median(spacing):g} days; allowed: one per day")
    gaps = np.flatnonzero(spacing > max_gap_days + 1)
    dropped = int(gaps[-1]) + 1 if len(gaps) else 0
    lost = int(first[dropped])
    days, values = days[dropped:], values[dropped:]
    length = int(days[-1] - days[0]) + 1
    if length < min_days:
        after = f" after the last gap of more than {max_gap_days} days" if dropped else ""
        raise Rejection("too_short", f"{length} days{after}; allowed: at least {min_days}")
    if values.max() == values.min():
        raise Rejection("constant", f"every value is {values[0]:g}; allowed: series whose values vary")

    filled, observed = _without_holes(days - days[0], values)
    repairs = {
        "unsorted_row": len(unsorted),
        "duplicate_row": int((counts[equal] - 1).sum()),
        "conflicting_day": conflicting,
        "partial_day": partial,
    }
    return Series(
        start=int(days[0]),
        values=filled,
        observed=observed,
        before_gap=lost,
        repairs={rule: count for rule, count in repairs.items() if count},
        examples=examples,
    )


def _without_holes(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values at some steps from 0, in order, on every step by rule 4, and which were there, bool: both `(steps,)`."""
    filled = np.full(steps[-1] + 1, np.nan)
    filled[steps] = values
    observed = ~np.isnan(filled)
    seen_from = np.full(SEASON, len(filled))  # the first observation of each weekday
    np.minimum.at(seen_from, steps % SEASON, steps)
    for step in np.flatnonzero(~observed):
        filled[step] = filled[step - SEASON if step > seen_from[step % SEASON] else step - 1]
    return filled, observed


class AlignedCovariates(NamedTuple):
    """Columns beside a series, on each of its days."""

    values: np.ndarray  # (length, columns), without NaN
    given: np.ndarray  # (length, columns), bool: the others are the value of the day before
    conflicts: int  # days on which a column has several different values, over all columns
    example: str  # the first of them, in words


def align_covariates(
    days: np.ndarray, columns: np.ndarray, names: Sequence[str], *, start: int, length: int, duplicates: Duplicates
) -> AlignedCovariates:
    """Covariates on the days `start … start + length - 1`, from `days` `(n,)` and `columns` `(n, columns)`, NaN where
    missing, in any order.

    Several values on a day become one as `duplicates` says, with `sum` by their mean: two rows of a holiday are one
    holiday. Raises Rejection for different values on a day where `duplicates` refuses them.
    """
    order = np.argsort(days, kind="stable")
    days, columns = days[order], columns[order]
    aligned = np.full((length, columns.shape[1]), np.nan)
    conflicts, example = 0, ""
    for index, column in enumerate(columns.T):
        known = ~np.isnan(column) & (days < start + length)
        known_days, first = np.unique(days[known], return_index=True)
        if len(first):
            try:
                found, words = _conflicts(known_days, column[known], first, duplicates)
            except Rejection as error:
                raise Rejection(error.rule, f"{names[index]} is {error}") from None
            conflicts, example = conflicts + len(found), example or (words and f"{names[index]} is {words}")
            values = _aggregate(column[known], first, "mean" if duplicates == "sum" else duplicates)
            # The last one before the start stands for the start, where that has none.
            aligned[np.maximum(known_days - start, 0), index] = values
    given = ~np.isnan(aligned)
    latest = np.maximum.accumulate(np.where(given, np.arange(length)[:, None], -1), axis=0)
    filled = np.take_along_axis(aligned, np.maximum(latest, 0), axis=0)
    return AlignedCovariates(np.where(latest >= 0, filled, 0.0), given, conflicts, example)


def _conflicts(
    days: np.ndarray, values: np.ndarray, first: np.ndarray, duplicates: Duplicates
) -> tuple[np.ndarray, str]:
    """Which days have different values, `(conflicts,)` places in `days`, and the first in words; `first` holds where in
    `values` each day begins.

    Raises Rejection where there are any and `duplicates` refuses them.
    """
    lowest, highest = np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)
    found = np.flatnonzero(lowest != highest)
    if not len(found):
        return found, ""
    at = found[0]
    example = f"{lowest[at]:.15g} and {highest[at]:.15g} on {calendar_date(int(days[at]))}"
    if duplicates == "refuse":
        more = f", the first of {len(found):,} such days" if len(found) > 1 else ""
        allowed = "one value per day (aggregate finer data, or set prepare.duplicates: mean, sum, first or last)"
        raise Rejection("several_values", f"{example}{more}; allowed: {allowed}")
    return found, example


def _partial(days: np.ndarray, counts: np.ndarray) -> tuple[int, str]:
    """How many days have fewer values than nine in ten others, which have equally many: a sum of part of a day."""
    usual = int(np.median(counts))
    found = np.flatnonzero(counts < usual)
    if not len(found) or 10 * int((counts == usual).sum()) < 9 * len(counts):
        return 0, ""
    at = found[-1]
    return len(found), f"{counts[at]} of {usual} values on {calendar_date(int(days[at]))}"


def _aggregate(values: np.ndarray, first: np.ndarray, duplicates: Duplicates) -> np.ndarray:
    """One value for each run of equal days; `first` holds where each run begins."""
    if duplicates in ("refuse", "first"):  # refused are different ones: these are equal
        return values[first]
    if duplicates == "last":
        return values[np.append(first[1:], len(values)) - 1]
    sums = np.add.reduceat(values, first)
    return sums if duplicates == "sum" else sums / np.diff(first, append=len(values))

"""What shows a file to be read wrongly, though each of its lines can be read: said in words, never repaired."""

from __future__ import annotations

import numpy as np

from ....preprocessing.preparation import Preparation
from ..data.numbers import Notation
from ..data.series import AlignedCovariates, Duplicates, Series

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SWAPPED = (
    "day and month look swapped up to the 12th, as by a spreadsheet; use ISO dates, prepare.date_format: '%Y-%m-%d'"
)
LEAVE_OUT: tuple[Duplicates, ...] = ("first", "last")  # the rules that keep one of several different values
_HUNDREDS = 100.0  # a column of smaller whole numbers does not come near a thousand


class Fractions:
    """The fractions in a column of numbers, which are thousands by another notation where each has three digits and
    the whole numbers beside them stay below: `1.121` after `999`.
    """

    def __init__(self, notation: Notation) -> None:
        self._notation = notation
        self._largest_whole = 0.0
        self._others = False
        self.count = 0
        self.first = ""

    def add(self, text: str, value: float, where: str) -> None:
        """Count a number, by its text."""
        if self._others:
            return
        if self._notation.decimal not in text:
            self._largest_whole = max(self._largest_whole, abs(value))
        elif self._notation.may_be_thousands(text.strip()):
            self.count += 1
            self.first = self.first or f"{where}: {text}"
        else:
            self._others = True

    @property
    def doubt(self) -> str:
        """The first of them and which key to set; empty where they are what they seem."""
        if not self.count or self._others or not _HUNDREDS <= self._largest_whole < 10 * _HUNDREDS:
            return ""
        mark = self._notation.decimal
        keys = f"prepare.thousands: {mark!r}, prepare.decimal: {'.,'.replace(mark, '')!r}"
        return f"{self.first} beside whole numbers up to {self._largest_whole:g}; it looks like {keys}"


def are_swapped(days: np.ndarray) -> bool:
    """Whether days as a file has them, `(n,)` since 1970-01-01, come far better in order with day and month swapped, up
    to the 12th: the dates that a spreadsheet of another country reads, and turns round, while it leaves the others.
    """
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    years = dates.astype("datetime64[Y]")
    day, month = (dates - months).astype(np.int64), (months - years).astype(np.int64)  # both from 0
    turned = (years.astype("datetime64[M]") + day).astype("datetime64[D]") + month
    swapped = np.where(day < 12, turned, dates).astype(np.int64)
    return 2 * _out_of_order(swapped) < _out_of_order(days)


def _out_of_order(days: np.ndarray) -> int:
    """How often the order, earliest or latest first, is broken."""
    steps = np.diff(days)
    return int(min((steps < 0).sum(), (steps > 0).sum()))


def never_observed(series: Series) -> str:
    """The weekdays that a series has no value on, and what to do about them, in words; empty where there are none."""
    names = [WEEKDAYS[day] for day in series.unobserved_weekdays]
    if not names:
        return ""
    listed = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return (
        f"no value on any {listed}, so nothing supports their forecasts: leave them out, or add rows of 0 where closed"
    )


def count_conflicts(name: str, found: AlignedCovariates, duplicates: Duplicates, output: Preparation) -> None:
    """Count the days on which a column of a series had different values, which `duplicates` made one."""
    if found.conflicts:
        doubtful = duplicates in LEAVE_OUT
        output.repair("conflicting_covariate", found.conflicts, example=f"{name}: {found.example}", doubtful=doubtful)

"""What the days of a series show to be wrong with the file that they were read from, though each line can be read."""

from __future__ import annotations

import numpy as np

from ..data.series import Series

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SWAPPED = (
    "day and month look swapped up to the 12th, as by a spreadsheet; allowed are dates written anew, such as %Y-%m-%d"
)


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
    return int((np.diff(days) < 0).sum())


def never_observed(series: Series) -> str:
    """The weekdays that a series has no value on, and what to do about them, in words; empty where there are none."""
    names = [WEEKDAYS[day] for day in series.unobserved_weekdays]
    if not names:
        return ""
    listed = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"no value on any {listed}, whose forecasts rest on none: leave them out, or add rows, of 0 where closed"

"""The holidays of a country, as a table that travels with the prepared data and with the registered model.

Read from the package `holidays` once, in preprocessing. So serving needs no package, and a model that was trained with
one edition of it never answers with another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

FIRST_YEAR, LAST_YEAR = 1990, 2060  # of the table, where the data does not reach further
_NOTE = re.compile(r" \([^()]*\)$")  # "Christmas Day (observed)" is Christmas Day


def holiday_table(code: str, first: date, last_seen: date, last: date) -> dict[str, Any]:
    """`days`: name → its days, ISO 8601, in order, for a country (`US`) or a part of it (`US-IL`, `GB-ENG`), in the
    years `first_year` to `last_year`.

    The table reaches from FIRST_YEAR, or the year before `first`, to LAST_YEAR, or the year after `last`. It holds only
    holidays that have been between `first` and `last_seen`, the days that a network learns from: the weights of any
    other, such as one that was made later, would be noise. Days off for a holiday that fell on a Sunday bear its name.
    Raises ValueError for a code that the package does not know.
    """
    import holidays  # a fifth of a second to import, and only where a country is asked for

    country, _, part = code.partition("-")
    first_year, last_year = min(FIRST_YEAR, first.year - 1), max(LAST_YEAR, last.year + 1)
    try:
        calendar = holidays.country_holidays(country, subdiv=part or None, years=range(first_year, last_year + 1))
    except NotImplementedError as error:
        raise ValueError(
            f"prepare.holidays: found {code!r}: {error}; allowed: a country code that the package holidays knows"
        ) from None
    table: dict[str, list[str]] = {}
    for day, names in sorted(calendar.items()):
        for name in {_NOTE.sub("", name) for name in names.split("; ")}:
            table.setdefault(name, []).append(day.isoformat())
    learned = {
        name: days
        for name, days in sorted(table.items())
        if any(first.isoformat() <= day <= last_seen.isoformat() for day in days)
    }
    return {"first_year": first_year, "last_year": last_year, "days": learned}


def names_by_day(table: Mapping[str, Any]) -> dict[str, str]:
    """ISO day → the names of its holidays, joined by "; "."""
    days: dict[str, list[str]] = {}
    for name, dates in table["days"].items():
        for day in dates:
            days.setdefault(day, []).append(name)
    return {day: "; ".join(names) for day, names in days.items()}

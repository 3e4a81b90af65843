"""When each policy trains again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal, get_args

Policy = Literal["never", "yearly", "monthly", "on_new_data", "on_alarm"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
_MONTHS = {"yearly": 12, "monthly": 1}
FIRST = "the first decision: there is no model yet"


def reason_to_train(policy: Policy, day: date, last: date | None, *, alarm: str, pause_days: int) -> str:
    """Why a policy trains on a day of decision; empty where it does not.

    `last` is the day of its last training, `alarm` the newest alarm since. `monthly` and `yearly` train on the first
    day of decision in a month that is one or twelve after the last training's, so that they meet on the same days; the
    others wait for `pause_days` after a training, and an alarm of that time is not forgotten.
    """
    if last is None:
        return FIRST
    if policy in _MONTHS:
        months = 12 * (day.year - last.year) + day.month - last.month
        return f"{months} month{'s' * (months > 1)} after {last}" if months >= _MONTHS[policy] else ""
    if policy == "never" or (day - last).days < pause_days:
        return ""
    if policy == "on_new_data":
        return f"new data since {last}"
    return f"alarm: {alarm}" if alarm else ""


def foreseen(policies: Sequence[Policy], days: Sequence[date], pause_days: int) -> list[date]:
    """The days on which some policy will train whatever the data says."""
    found: set[date] = set()
    for policy in policies:
        last: date | None = None
        for day in days:
            if reason_to_train(policy, day, last, alarm="", pause_days=pause_days):
                found.add(day)
                last = day
    return sorted(found)

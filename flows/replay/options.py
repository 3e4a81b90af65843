"""What a replay is asked for, checked: each mistake is one line with the option, what was found and what is allowed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date, timedelta

from stages.tasks.protocol import Task

from .policies import POLICIES, Policy

TASK = "forecast"  # the one whose data has days
_EVERY = re.compile(r"([1-9]\d{0,3})d")


class OptionError(ValueError):
    """An option that may not be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The days of decision, and the policies that decide."""

    days: tuple[date, ...]
    policies: tuple[Policy, ...]


def check_task(name: str) -> Task:
    """Raises OptionError for a task without days."""
    if name != TASK:
        raise OptionError(f"found {name!r}; allowed: {TASK}, the only task with daily data")
    return Task(name)


def plan(first: str, last: str, every: str, retrain: str) -> Plan:
    """From the options' texts. Raises OptionError."""
    begin, end = _day("--from", first), _day("--to", last)
    if begin > end:
        raise OptionError(f"--from: found {begin}; allowed: a day up to --to, {end}")
    match = _EVERY.fullmatch(every)
    if not match:
        raise OptionError(f"--every: found {every!r}; allowed: a number of days from 1d to 9999d, such as 7d")
    names = [name.strip() for name in retrain.split(",")]
    if unknown := [name for name in names if name not in POLICIES]:
        raise OptionError(f"--retrain: found {unknown[0]!r}; allowed: {', '.join(POLICIES)}, joined by commas")
    if twice := [name for name in names if names.count(name) > 1]:
        raise OptionError(f"--retrain: found {twice[0]} twice; allowed: each policy once")
    step = timedelta(days=int(match[1]))
    days = tuple(begin + number * step for number in range((end - begin) // step + 1))
    return Plan(days, tuple(policy for name in names for policy in POLICIES if policy == name))


def parallel_trainings(asked: int | None, threads: int) -> int:
    """How many trainings of so many threads run at once: as asked, or as many as there are cores for, or one.

    Raises OptionError for less than one.
    """
    if asked is None:
        return max(1, (os.cpu_count() or 1) // threads)
    if asked < 1:
        raise OptionError(f"--parallel: found {asked}; allowed: 1 or more")
    return asked


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise OptionError(f"{option}: found {text!r}; allowed: a day such as 2018-12-31") from None

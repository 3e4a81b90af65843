"""Whether new data is reason enough to train again: the policy `TASK.monitor.retrain`, as a function of what is known.

It asks nobody and reads no clock. The replay's own policies (`flows/replay/policies.py`) know most trainings ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..params import MonitorParams

Drifted = Literal["none", "warning", "drift", "unknown"]
Scores = Literal["none", "alarm", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a task on a day on which its data are others than those its model has learned from."""

    day: date
    last_training: date | None  # None: there is no version
    drift: Drifted = "unknown"  # of the newest data, against what the champion has learned from
    drift_summary: str = ""
    scores: Scores = "unknown"  # of the champion's answers that have come true
    scores_summary: str = ""


@dataclass(frozen=True, slots=True)
class Retraining:
    """Whether to train again, and why, in words for people."""

    retrain: bool
    reason: str


def decide(monitor: MonitorParams, evidence: Evidence) -> Retraining:
    """What the policy says of this evidence. A first training waits for no policy, and the pause holds for all."""
    last = evidence.last_training
    if last is None:
        return Retraining(True, "there is no version yet, so the first training runs whatever the policy")
    wanted = _by_policy(monitor.retrain, evidence, last)
    free = last + timedelta(days=monitor.pause_days)
    if wanted.retrain and evidence.day < free:
        return Retraining(
            False,
            f"{wanted.reason}, but pause_days requires {_days(monitor.pause_days)} between two trainings; the last was "
            f"on {last}, {_days((evidence.day - last).days)} ago, and the next may be on {free}",
        )
    return wanted


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _by_policy(policy: str, evidence: Evidence, last: date) -> Retraining:
    match policy:
        case "on_new_data":
            return Retraining(True, "on_new_data: there are data that the model was not trained on")
        case "on_drift":
            return _by_verdict(policy, evidence.drift, "drift", evidence.drift_summary)
        case "on_alarm":
            return _by_verdict(policy, evidence.scores, "alarm", evidence.scores_summary)
        case "monthly":
            due = (evidence.day.year, evidence.day.month) > (last.year, last.month)
            when = f"the last training was on {last}"
            later = f"{when}, in an earlier month" if due else f"{when}, in this month"
            return Retraining(due, f"monthly: {later}")
        case "never":
            return Retraining(False, "never: only a person trains, with `dvc repro`")
    raise ValueError(f"monitor.retrain: found {policy!r}")


_WORDS = {
    "on_drift": {
        "drift": "the input has drifted",
        "warning": "the input may have drifted, but a warning does not count as drift",
        "none": "the input has not drifted",
        "unknown": "it is not known whether the input has drifted",
    },
    "on_alarm": {
        "alarm": "the answers have become worse",
        "none": "the answers are as good as in the evaluation",
        "unknown": "it is not known whether the answers are still good",
    },
}


def _by_verdict(policy: str, verdict: str, wanted: str, summary: str) -> Retraining:
    """Train where the verdict is the one that the policy waits for."""
    said = f" ({summary})" if summary else ""
    return Retraining(verdict == wanted, f"{policy}: {_WORDS[policy][verdict]}{said}")

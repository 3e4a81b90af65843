"""Whether a night trains again."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from stages.monitoring.retraining import Evidence, decide
from stages.params import MonitorParams

LAST = date(2026, 11, 2)


def monitor(retrain: Any, pause_days: int = 7) -> MonitorParams:
    return MonitorParams.model_construct(retrain=retrain, pause_days=pause_days)


def evidence(day: date = date(2026, 11, 20), **known: Any) -> Evidence:
    return Evidence(day=day, **{"last_training": LAST, **known})


@pytest.mark.parametrize(
    ("retrain", "known", "expected"),
    [
        ("on_new_data", {}, True),
        ("on_drift", {"drift": "drift"}, True),
        ("on_drift", {"drift": "warning"}, False),
        ("on_drift", {"drift": "none", "scores": "alarm"}, False),
        ("on_drift", {"drift": "unknown"}, False),
        ("on_alarm", {"scores": "alarm"}, True),
        ("on_alarm", {"scores": "none", "drift": "drift"}, False),
        ("on_alarm", {"scores": "unknown"}, False),
        ("never", {"drift": "drift", "scores": "alarm"}, False),
        ("monthly", {"day": date(2026, 11, 30)}, False),
        ("monthly", {"day": date(2026, 12, 1)}, True),
        ("monthly", {"day": date(2027, 1, 2), "last_training": date(2026, 12, 20)}, True),
    ],
)
def test_the_policy_decides_by_what_it_is_about(retrain: str, known: dict[str, Any], expected: bool) -> None:
    decided = decide(monitor(retrain), evidence(**known))
    assert decided.retrain == expected
    assert decided.reason.startswith(f"{retrain}: ")


@pytest.mark.parametrize("retrain", ["on_new_data", "on_drift", "on_alarm", "monthly", "never"])
def test_a_first_training_waits_for_no_policy(retrain: str) -> None:
    assert decide(monitor(retrain), evidence(last_training=None)).retrain


def test_the_pause_holds_back_until_its_day_and_says_so() -> None:
    decided = decide(monitor("on_new_data"), evidence(day=date(2026, 11, 8)))
    assert not decided.retrain
    assert decided.reason == (
        "on_new_data: there are data that the model was not trained on, but pause_days requires 7 days between two "
        "trainings; the last was on 2026-11-02, 6 days ago, and the next may be on 2026-11-09"
    )
    assert decide(monitor("on_new_data"), evidence(day=date(2026, 11, 9))).retrain
    tomorrow = decide(monitor("on_new_data", pause_days=1), evidence(day=LAST))
    assert "requires 1 day between two trainings; the last was on 2026-11-02, 0 days ago" in tomorrow.reason
    assert decide(monitor("on_new_data", pause_days=0), evidence(day=LAST)).retrain


def test_what_the_pause_holds_back_is_due_after_it() -> None:
    late = {"last_training": date(2026, 11, 28)}
    assert not decide(monitor("monthly"), evidence(day=date(2026, 12, 1), **late)).retrain
    assert decide(monitor("monthly"), evidence(day=date(2026, 12, 5), **late)).retrain


def test_the_reason_says_what_was_found() -> None:
    found = evidence(scores="alarm", scores_summary="MASE 1.4, its band ends at 1.1")
    assert decide(monitor("on_alarm"), found).reason == (
        "on_alarm: the answers have become worse (MASE 1.4, its band ends at 1.1)"
    )

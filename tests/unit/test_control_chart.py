"""The control chart: its CUSUMs against published run lengths and a plain reference, and that it looks back only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.monitoring import control_chart
from stages.monitoring.control_chart import CHARTS, ControlChart, Reference, standardized

IDEAL = Reference.of([], np.empty(0))


def limits(level: float = 1e9, spread: float = 1e9, weekday: float = 1e9) -> Any:
    return SimpleNamespace(level=level, spread=spread, weekday=weekday)


def first_alarms(errors: np.ndarray, found: Any, reference: Reference) -> float:
    """The mean number of days to the first alarm, over rows `(runs, days)`."""
    lengths = []
    for row in errors:
        chart = ControlChart(found)
        lengths.append(
            next((day + 1 for day, e in enumerate(row.tolist()) if chart.add(day, e, reference).alarms), len(row))
        )
    return float(np.mean(lengths))


class Normal(Reference):
    """Of errors that are standard normal to begin with."""

    def score(self, error: float) -> float:
        return error


EXACT = Normal(IDEAL.errors, IDEAL.scores, IDEAL.means, IDEAL.persistence)


@pytest.mark.parametrize(("shift", "published"), [(0.0, 168.0), (0.5, 26.6), (1.0, 8.38), (2.0, 3.34)])
def test_the_level_chart_has_the_run_lengths_of_a_cusum(monkeypatch, shift, published):
    """k = 0.5, h = 4, both sides: Montgomery, "Introduction to Statistical Quality Control", 7th edition, table 9.3."""
    monkeypatch.setattr(control_chart, "_DELAY", 10**6)  # the chart of the textbook corrects for no memory
    generator = np.random.default_rng(1)
    errors = generator.standard_normal((300, 900 if shift == 0 else 200)) + shift
    assert first_alarms(errors, limits(level=4.0), EXACT) == pytest.approx(published, rel=0.15)


def test_the_charts_are_cusums_of_what_they_say():
    generator = np.random.default_rng(2)
    errors = generator.standard_normal(200) * 1.5
    chart = ControlChart(limits())
    points = [chart.add(day, error, EXACT) for day, error in enumerate(errors.tolist())]
    local = np.full(200, np.nan)
    for day in range(6, 200):
        local[day] = (errors[day] - errors[day - 6 : day + 1].mean()) * np.sqrt(7 / 6)
    above = spread = weekday = 0.0
    for day in range(28):  # then the chart begins to correct for memory
        above = max(0.0, above + errors[day] - 0.5)
        spread = max(0.0, spread + (abs(errors[day]) - 0.7979) / 0.6028 - 0.5)
        assert points[day].above == pytest.approx(above)
        assert points[day].spread == pytest.approx(spread)
        if day >= 20:
            weekday = max(0.0, weekday + local[day] * (local[day - 7] + local[day - 14]) / np.sqrt(2) - 0.7)
            assert points[day].weekday == pytest.approx(weekday, abs=1e-9) or day < 27
        weekday = points[day].weekday


def test_a_band_says_how_far_a_value_lies():
    found = standardized(np.array([0.0, 1.0, 5.0, -2.0]), np.full(4, -1.0), np.zeros(4), np.full(4, 5.0))
    assert found == pytest.approx([0.0, 1.645 / 5, 1.645, -2 * 1.645], rel=1e-3)
    assert standardized(np.array([1.0, 0.0]), np.zeros(2), np.zeros(2), np.zeros(2)).tolist() == [1e6, 0.0]


def test_errors_count_by_their_rank_among_those_of_the_test_split():
    generator = np.random.default_rng(3)
    skewed = np.exp(generator.standard_normal(5000)) * 7
    reference = Reference.of(range(5000), skewed)
    scores = [reference.score(error) for error in np.exp(generator.standard_normal(3000)) * 7]
    assert np.mean(scores) == pytest.approx(0.0, abs=0.06)
    assert np.std(scores) == pytest.approx(1.0, abs=0.06)
    assert reference.score(1e12) == 4.0
    assert reference.score(-1e12) == -4.0
    ordered = [reference.score(error) for error in np.linspace(-50, 500, 400)]
    assert np.all(np.diff(ordered) >= 0)


def test_memory_of_the_test_split_makes_the_chart_slower():
    generator = np.random.default_rng(4)
    noise = generator.standard_normal(3000)
    errors = np.zeros(3000)
    for day in range(1, 3000):
        errors[day] = 0.6 * errors[day - 1] + 0.8 * noise[day]
    reference = Reference.of(range(3000), errors)
    assert reference.persistence["level"] == pytest.approx(
        3.5, rel=0.25
    )  # (1 + φ) / (1 - φ) = 4, less the window's end
    assert Reference.of(range(3000), noise).persistence["level"] == pytest.approx(1.0, rel=0.25)

    def alarms(reference: Reference) -> int:
        chart = ControlChart(limits(level=4.0))
        return sum(bool(chart.add(day, error, reference).alarms) for day, error in enumerate(errors[:600].tolist()))

    assert alarms(reference) < alarms(IDEAL) / 2  # which learns of it only as days come


@pytest.mark.parametrize(
    ("chart", "change"),
    [
        ("level", lambda errors, days: errors + 1.5),
        ("level", lambda errors, days: errors - 1.5),
        ("spread", lambda errors, days: errors * 2.5),
        ("weekday", lambda errors, days: errors + np.where(days % 7 < 2, -2.5, 1.0)),
    ],
)
def test_each_chart_finds_what_it_is_for_and_starts_again(chart, change):
    generator = np.random.default_rng(5)
    days = np.arange(300)
    errors = generator.standard_normal(300)
    reference = Reference.of(range(365), generator.standard_normal(365))
    errors[150:] = change(errors[150:], days[150:])
    found = ControlChart(limits(**dict.fromkeys(CHARTS, 9.0)))
    points = [found.add(int(day), error, reference) for day, error in zip(days, errors.tolist(), strict=True)]
    assert not any(point.alarms for point in points[:150])
    alarms = [point.day for point in points if chart in point.alarms]
    assert 150 < alarms[0] <= 180
    assert len(alarms) > 1


def test_no_day_changes_what_was_said_before_it():
    generator = np.random.default_rng(6)
    reference = Reference.of(range(100), generator.standard_normal(100))
    errors = generator.standard_normal(250) * 1.3

    def points(values: np.ndarray) -> list[Any]:
        chart = ControlChart(limits(4.0, 4.0, 4.0))
        return [chart.add(day, value, reference) for day, value in enumerate(values.tolist())]

    whole = points(errors)
    assert any(point.alarms for point in whole)
    for cut in generator.integers(1, 250, 20).tolist():
        changed = errors.copy()
        changed[cut:] = generator.standard_normal(250 - cut) * 50
        assert points(changed)[:cut] == whole[:cut]

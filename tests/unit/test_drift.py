"""Drift: unchanged data are left alone, planted changes are found, and neither a size nor a surety alone is enough."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.drift import table
from stages.monitoring import drift as drift_module
from stages.monitoring import watched
from stages.monitoring.comparison import Change, distance, holm, normal_distance
from stages.monitoring.drift import Drift, _of_preparation, changes_of, judged
from stages.monitoring.drift_picture import save_pictures
from stages.params import load
from stages.preprocessing.profile import Categories, Numbers, Observed, profile_of
from stages.preprocessing.weekly import DailySeries
from stages.tasks.forecast.prepare import profile as forecast

from .test_forecast_prepare import prepared

PARAMS = load()["forecast"]
COUNTS = {"accepted": 1, "rejected": 0}


def sample(generator: np.random.Generator, n: int, *, shift: float = 0.0, classes: int = 10) -> Observed:
    features: dict[str, Numbers | Categories] = {
        f"number {k}": Numbers(generator.normal(shift if k == 0 else 0.0, 1.0, n)) for k in range(5)
    }
    names = [f"class {k}" for k in range(10)]
    return Observed(
        examples=n, features={**features, "class": Categories(generator.integers(10 - classes, 10, n), names)}
    )


def verdicts(profile: dict[str, Any], observed: Observed, rejected: Any = None) -> dict[str, str]:
    changes = changes_of(profile, observed, rejected or {}, partial=False)
    return {feature.name: feature.verdict for feature in judged(changes, PARAMS)}


def series(
    generator: np.random.Generator, days: int = 5 * 365, *, level: float = 0.0, spread: float = 1.0, name: str = "s"
) -> DailySeries:
    values = generator.normal(size=days) + np.tile([2, 0, 0, 0, 0, -1, -1], days // 7 + 1)[:days]
    values[-28:] = (values[-28:] - values[-28:].mean()) * spread + values[-28:].mean() + level
    return DailySeries(name=name, start=12_000, values=values, observed=np.ones(days, dtype=bool))


def first(days: int, whole: DailySeries) -> DailySeries:
    return replace(whole, values=whole.values[:days], observed=whole.observed[:days])


def of(*some: DailySeries) -> Observed:
    return Observed(examples=len(some), series=some)


def test_unchanged_data_are_left_alone():
    generator = np.random.default_rng(1)
    profile = profile_of(sample(generator, 4000), COUNTS)
    found = [verdicts(profile, sample(generator, 300)) for _ in range(30)]
    assert {verdict for each in found for verdict in each.values()} == {"none"}


@pytest.mark.parametrize(("kind", "cells"), [("ordered", 12), ("ordered", 2), ("categories", 12), ("categories", 60)])
def test_the_test_holds_its_level(kind, cells):
    generator = np.random.default_rng(2)
    shares = generator.dirichlet(np.ones(cells))
    p_values = [
        distance(*generator.multinomial([5000, 300], shares), (1.0, 1.0), ordered=kind == "ordered")[1]
        for _ in range(500)
    ]
    assert np.mean(np.array(p_values) < 0.05) < 0.07
    assert np.mean(np.array(p_values) < 0.005) < 0.015


def test_examples_that_depend_on_each_other_do_not_raise_alarms():
    generator = np.random.default_rng(3)

    def grouped(groups: int) -> Observed:
        own = np.repeat(generator.normal(size=groups), 20)
        values = own + 0.1 * generator.normal(size=len(own))
        return Observed(examples=len(values), features={"n": Numbers(values)}, groups=np.repeat(np.arange(groups), 20))

    profile = profile_of(grouped(200), COUNTS)
    p_values = [changes_of(profile, grouped(25), {}, partial=False)[0].p_value for _ in range(200)]
    assert np.mean(np.array(p_values) < 0.05) < 0.1
    alone = replace(grouped(25), groups=None)
    assert profile["features"]["n"]["design_effect"] > 10
    assert changes_of(profile, alone, {}, partial=False)[0].p_value > 1e-6


def test_a_shifted_number_is_found():
    generator = np.random.default_rng(4)
    profile = profile_of(sample(generator, 4000), COUNTS)
    found = verdicts(profile, sample(generator, 500, shift=0.7))
    assert found.pop("number 0") == "drift"
    assert set(found.values()) == {"none"}


def test_a_class_that_is_gone_is_found():
    generator = np.random.default_rng(5)
    profile = profile_of(sample(generator, 4000), COUNTS)
    found = verdicts(profile, sample(generator, 500, classes=9))
    assert found["class gone"] == "drift"


def test_of_many_examples_a_difference_that_is_sure_and_small_is_none():
    generator = np.random.default_rng(6)
    profile = profile_of(sample(generator, 50_000), COUNTS)
    (change,) = [
        c for c in changes_of(profile, sample(generator, 50_000, shift=0.05), {}, partial=False) if c.name == "number 0"
    ]
    assert change.p_value < 1e-6
    assert judged([change], PARAMS)[0].verdict == "none"


def test_a_difference_that_is_large_and_unsure_is_none():
    changes = [Change(name="n", effect=0.9, p_value=0.01, before="", now="")]
    assert judged(changes, PARAMS)[0].verdict == "none"


def test_what_is_sure_is_judged_by_its_size():
    changes = [Change(name=str(e), effect=e, p_value=1e-9, before="", now="") for e in (0.05, 0.15, 0.5)]
    assert [(one.name, one.verdict) for one in judged(changes, PARAMS)] == [
        ("0.5", "drift"),
        ("0.15", "warning"),
        ("0.05", "none"),
    ]


def test_more_rejections_are_found_and_what_was_there_before_is_no_news():
    before = {"accepted": 10_000, "rejected": 100, "rejected_too_long": 100}
    now = {"accepted": 10_500, "rejected": 200, "rejected_too_long": 200}
    rejected = _of_preparation(before, now)
    assert rejected == {"rejected too long": {"before": 100, "all_before": 10_100, "now": 100, "all_now": 600}}
    generator = np.random.default_rng(7)
    profile = profile_of(sample(generator, 4000), COUNTS)
    assert verdicts(profile, sample(generator, 500), rejected)["rejected too long"] == "drift"
    assert _of_preparation(before, {"accepted": 50, "rejected": 1, "rejected_empty": 1})["rejected empty"] == {
        **{"before": 0, "all_before": 10_100},
        **{"now": 1, "all_now": 51},
    }


def test_the_effect_of_unchanged_samples_is_next_to_nothing_however_small():
    generator = np.random.default_rng(8)
    shares = np.full(12, 1 / 12)
    effects = [distance(*generator.multinomial([5000, 100], shares), (1, 1), ordered=True)[0] for _ in range(200)]
    assert np.mean(effects) < 0.07
    assert distance(np.array([100, 0]), np.array([0, 100]), (1, 1), ordered=True)[0] > 0.95


def test_normal_distributions_half_a_deviation_apart():
    assert normal_distance(0.0) == pytest.approx(0, abs=1e-6)
    assert normal_distance(0.5) == pytest.approx(0.21, abs=0.005)
    assert normal_distance(20.0) == pytest.approx(1, abs=1e-3)
    assert normal_distance(0.0, 2.0) == pytest.approx(normal_distance(0.0, 0.5), abs=1e-3)


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([])).tolist() == []


@pytest.mark.parametrize(
    ("feature", "change"), [("level", {"level": 2.0}), ("spread", {"spread": 3.0}), ("none", {})], ids=str
)
def test_a_series_is_compared_with_the_weeks_before(feature, change):
    generator = np.random.default_rng(9)
    whole = series(generator, **change)
    found = verdicts(profile_of(of(first(5 * 365 - 60, whole)), COUNTS), of(whole))
    found.pop("pattern" if feature == "spread" else "gaps")  # what varies more has a less steady week
    assert {name for name, verdict in found.items() if verdict == "drift"} == {feature} - {"none"}


def test_a_level_that_rises_after_days_that_were_held_back_is_found(tmp_path):
    """Between the days that the champion was fitted to and those that came lie a year and a half that judged it."""
    generator = np.random.default_rng(14)
    season = 4 * np.sin(2 * np.pi * np.arange(4 * 365) / 365.25)
    values = 20 + season + generator.normal(size=4 * 365)
    values[-28:] *= 1.5
    days = np.datetime64("2020-01-01") + np.arange(len(values))
    lines = [f"{day},{value:.3f}" for day, value in zip(days, values, strict=True)]
    (tmp_path / "raw").mkdir()

    def observed(count: int) -> Observed:
        (tmp_path / "raw" / "s.csv").write_text("\n".join(["date,y", *lines[:count]]) + "\n")
        prepared(tmp_path / "raw", tmp_path / "out", validation_days=182, test_days=365)
        return forecast.learned(tmp_path / "out")

    profile = profile_of(observed(len(lines) - 28), COUNTS)
    assert verdicts(profile, observed(len(lines)))["level"] == "drift"
    assert set(verdicts(profile, observed(len(lines) - 28)).values()) == {"none"}


def test_a_week_that_has_moved_is_found_and_a_season_is_none():
    generator = np.random.default_rng(10)
    whole = series(generator)
    season = 5 * np.sin(2 * np.pi * np.arange(len(whole.values)) / 364)
    whole = replace(whole, values=whole.values + season)
    learned = profile_of(of(first(5 * 365 - 100, whole)), COUNTS)
    assert set(verdicts(learned, of(whole)).values()) == {"none"}
    moved = whole.values.copy()
    moved[-28:] = np.roll(moved[-28:], 3)
    assert verdicts(learned, of(replace(whole, values=moved)))["pattern"] == "drift"


def test_a_series_that_wanders_is_not_called_changed():
    generator = np.random.default_rng(11)
    walks = [np.cumsum(generator.normal(size=4 * 365)) for _ in range(40)]
    whole = [replace(series(generator, len(walk)), values=walk) for walk in walks]
    found = [verdicts(profile_of(of(first(len(one.values) - 200, one)), COUNTS), of(one))["level"] for one in whole]
    assert found.count("drift") <= 1


def test_a_series_that_fell_silent_is_found_and_a_short_gap_is_none():
    generator = np.random.default_rng(12)
    two = [series(generator, name=name) for name in ("a", "b")]
    learned = profile_of(of(*two), COUNTS)
    silent = first(5 * 365 - 20, two[0])
    assert verdicts(learned, of(silent, two[1]))["a: gaps"] == "drift"
    assert verdicts(learned, of(first(5 * 365 - 3, two[0]), two[1]))["a: gaps"] == "none"
    changes = changes_of(learned, of(silent, two[1]), {}, partial=True)  # a user's file may end where it likes
    assert next(c for c in changes if c.name == "a: gaps").p_value == 1.0


def drift(features: Any, examples: int = 500) -> Drift:
    return Drift(task="sketch", model="m", version="3", what="x", examples=examples, features=features)


@pytest.mark.parametrize("examples", [0, 1])
def test_files_of_which_nothing_can_be_compared_are_no_answer(monkeypatch, examples):
    reader = SimpleNamespace(read=lambda rows, known: Observed(examples=examples, features={}))
    task: Any = SimpleNamespace(file_profile=lambda: reader, rows=lambda: None, name="forecast")
    profile = {"features": {}, "series": {}, "prepared": {"accepted": 9, "rejected": 0}}
    monkeypatch.setattr(watched, "open_champion", lambda task: (None, SimpleNamespace(name="forecaster", version=3)))
    monkeypatch.setattr(drift_module, "_profile", lambda *arguments: profile)
    monkeypatch.setattr(drift_module, "_known", lambda *arguments: None)
    monkeypatch.setattr(drift_module, "_rows", lambda *arguments: ())
    with pytest.raises(ValueError, match="header.csv: nothing could be compared: found (no|1) example"):
        drift_module.drift_of(task, PARAMS, ["header.csv"])


def test_the_summary_and_the_table_name_what_has_changed_most(tmp_path):
    generator = np.random.default_rng(13)
    profile = profile_of(sample(generator, 4000), COUNTS)
    some = sample(generator, 500, shift=1.0)
    found = drift(judged(changes_of(profile, some, {}, partial=False), PARAMS))
    assert found.verdict == "drift"
    assert found.summary.startswith("sketch: drift in x (500 examples) compared with m version 3: number 0 0.")
    assert table(found).splitlines()[2].startswith("number 0 ")
    assert found.as_json()["features"][0]["verdict"] == "drift"
    assert save_pictures(found, tmp_path)[0].name == "01-number-0.png"
    assert drift((), 0).summary == "sketch: none: no examples in x that m version 3 was not trained on"
    assert drift((), 2).summary.startswith(
        "sketch: none: nothing could be compared: 2 examples in x; needed: enough of"
    )


def test_pictures_of_series_are_drawn(tmp_path):
    whole = series(np.random.default_rng(14), level=3.0)
    found = drift(judged(changes_of(profile_of(of(whole), COUNTS), of(whole), {}, partial=False), PARAMS))
    assert len(save_pictures(found, tmp_path)) == 4

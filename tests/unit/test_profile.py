"""Profiles: pure, small, and the same whatever the order of the examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.preprocessing.profile import (
    MOST_CATEGORIES,
    Categories,
    Numbers,
    Observed,
    cell_counts,
    cells,
    design_effect,
    profile_of,
    write_profile,
)
from stages.preprocessing.weekly import (
    DAYS,
    MOST_SERIES,
    POOLED,
    DailySeries,
    comparable,
    four_weeks,
    pooled,
    short_name,
)

COUNTS = {"accepted": 400, "rejected": 4, "rejected_share": 0.01, "rejected_too_long": 4}


def observed(order: np.ndarray | None = None) -> Observed:
    generator = np.random.default_rng(1)
    order = np.arange(400) if order is None else order
    kinds, owners = generator.integers(0, 3, 400), np.arange(400) // 4
    return Observed(
        examples=400,
        features={
            "length": Numbers(generator.gamma(2.0, 10.0, 400).round(1)[order]),
            "class": Categories(kinds[order], ["dog", "cat", "cow"]),
        },
        groups=owners[order],
    )


def daily(name: str, values: np.ndarray, start: int = 11_000) -> DailySeries:
    return DailySeries(name=name, start=start, values=values, observed=np.ones(len(values), dtype=bool))


def test_the_order_of_the_examples_changes_nothing(tmp_path):
    order = np.random.default_rng(2).permutation(400)
    for name, some in (("one", observed()), ("other", observed(order))):
        write_profile(tmp_path / name, profile_of(some, COUNTS))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_profile_is_read_back_as_it_was_made(tmp_path):
    profile = profile_of(observed(), COUNTS)
    write_profile(tmp_path / "profile.json", profile)
    assert json.loads((tmp_path / "profile.json").read_text(encoding="utf-8")) == profile
    assert profile["prepared"] == {"accepted": 400, "rejected": 4, "rejected_too_long": 4}


def test_every_item_falls_into_a_cell_and_what_was_never_seen_into_the_outer_ones():
    feature = Numbers(np.array([5.0, 5.0, 7.0, 9.0]))
    made = profile_of(Observed(examples=4, features={"n": feature}), COUNTS)["features"]["n"]
    assert cell_counts(made).tolist() == np.bincount(cells(made, feature), minlength=len(made["counts"])).tolist()
    assert cells(made, Numbers(np.array([4.9, 9.1]))).tolist() == [0, len(made["edges"])]
    assert made["counts"][0] == made["counts"][-1] == 0


def test_categories_that_are_new_count_as_others():
    known = Categories(np.array([0, 0, 1]), ["a", "b"])
    made = profile_of(Observed(examples=3, features={"class": known}), COUNTS)["features"]["class"]
    assert made["counts"] == {"": 0, "a": 2, "b": 1}
    assert cells(made, Categories(np.array([0, 1]), ["new", "b"])).tolist() == [0, 2]


def test_a_profile_is_small_however_many_names_there_are_and_however_long(tmp_path):
    names = [f"{number:05d}{'x' * 5000}" for number in range(3000)]
    features: dict[str, Numbers | Categories] = {"token": Categories(np.arange(3000), names)}
    series = [daily(name, np.random.default_rng(7).normal(size=4000)) for name in names[:1200]]
    write_profile(tmp_path / "profile.json", profile_of(Observed(examples=3000, features=features, series=series), {}))
    assert (tmp_path / "profile.json").stat().st_size < 200_000
    few = [daily(name[:40], one.values) for name, one in zip(names, series[:MOST_SERIES], strict=False)]
    made = profile_of(Observed(examples=8, series=few), {})
    write_profile(tmp_path / "profile.json", made)
    assert (tmp_path / "profile.json").stat().st_size < 100_000
    assert len(profile_of(Observed(examples=3000, features=features), {})["features"]["token"]["counts"]) == (
        MOST_CATEGORIES + 1
    )


def test_items_of_one_example_count_as_few_where_they_are_alike():
    generator = np.random.default_rng(3)
    owners = np.repeat(np.arange(500), 10)
    alike = np.repeat(generator.integers(0, 2, 500), 10)
    assert design_effect(alike, owners, None) == pytest.approx(10, rel=0.1)
    assert design_effect(generator.integers(0, 2, 5000), owners, None) == pytest.approx(1, abs=0.2)
    assert design_effect(alike, None, owners) == pytest.approx(10, rel=0.1)
    assert design_effect(alike, None, None) == 1.0


def test_level_spread_and_weekly_pattern_are_told_apart():
    generator = np.random.default_rng(4)
    week = np.array([3.0, 1.0, 0.0, 0.0, 0.0, -1.0, -3.0])
    noise = generator.normal(size=(2000, DAYS))
    found = [four_weeks(10 + np.tile(week, 4) + row) for row in noise]
    levels, variances, patterns = zip(*found, strict=True)
    assert np.mean(levels) == pytest.approx(10, abs=0.05)
    assert np.mean(variances) == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(np.mean(patterns, axis=0), week, atol=0.05)


def test_many_series_are_pooled_by_what_each_usually_is():
    generator = np.random.default_rng(5)
    shared = generator.normal(size=400)
    many = [daily(f"shop {n}", 100 * n + (n + 1) * (shared + generator.normal(size=400))) for n in range(50)]
    made: dict[str, Any] = profile_of(Observed(examples=50, series=many), {})["series"]
    assert list(made["lines"]) == [POOLED]
    (one,) = comparable(made, many[:40])
    assert np.corrcoef(one.values, shared)[0, 1] > 0.98
    assert comparable(made, [daily("unknown", shared)]) == []


def test_a_pooled_series_begins_with_the_first_and_ends_with_the_last():
    early, late = daily("early", np.full(30, 2.0), start=100), daily("late", np.full(30, 6.0), start=110)
    one = pooled([early, late], {"early": (1.0, 1.0), "late": (4.0, 1.0)})
    assert (one.start, one.last_day, one.values[0], one.values[15], one.values[-1]) == (100, 139, 1.0, 1.5, 2.0)


def test_long_names_stay_apart():
    one, other = ("x" * 200 + end for end in "ab")
    assert short_name(one) != short_name(other)
    assert len(short_name(one)) <= 100
    assert short_name("Clark/Lake") == "Clark/Lake"


def test_a_profile_holds_no_path_and_no_time(tmp_path: Path):
    write_profile(tmp_path / "profile.json", profile_of(observed(), COUNTS))
    assert str(tmp_path) not in (tmp_path / "profile.json").read_text(encoding="utf-8")

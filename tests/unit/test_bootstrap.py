"""How sure a metric is: against scipy's bootstrap, against the truth, and what must not change an interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_rel

from stages.evaluation import bootstrap as own
from stages.evaluation.bootstrap import Scores, chance_of_being_better, difference, interval, mean, ratio

VALUES = np.random.default_rng(7).gamma(2.0, 3.0, 150)


def test_an_interval_is_scipys_percentile_bootstrap() -> None:
    theirs = bootstrap((VALUES,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1))
    ours = interval(mean(VALUES), resamples=20_000)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)
    assert interval(mean(VALUES), confidence=0.5) == pytest.approx(
        tuple(bootstrap((VALUES,), np.mean, confidence_level=0.5, method="percentile", rng=2).confidence_interval),
        abs=0.03,
    )


def test_an_interval_of_a_ratio_is_scipys_too() -> None:
    weights = np.random.default_rng(8).uniform(1, 5, 150)
    found = interval(Scores(statistics=np.column_stack([VALUES, weights]), groups=np.arange(150), metric=ratio))

    def of_sums(values: np.ndarray, divisors: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(values.sum(axis=axis) / divisors.sum(axis=axis))

    theirs = bootstrap((VALUES, weights), of_sums, paired=True, n_resamples=5000, method="percentile", rng=3)
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        low, high = interval(mean(generator.random(120) < 0.7), resamples=300)
        held += low <= 0.7 <= high
    assert 180 <= held <= 199  # 190 are expected; 3.3 standard deviations either way


def test_alike_examples_make_it_less_sure() -> None:
    groups = np.repeat(np.arange(30), 20)
    right = np.repeat(np.random.default_rng(3).random(30) < 0.6, 20)
    alone, together = interval(mean(right)), interval(mean(right, groups))
    # All 20 of a group are right or wrong together: 30 draws say what 600 would seem to say, √20 times less surely.
    assert (together[1] - together[0]) / (alone[1] - alone[0]) == pytest.approx(np.sqrt(20), rel=0.15)


def test_the_same_examples_in_another_order_have_the_same_interval() -> None:
    groups = np.repeat(np.arange(30), 5)
    order = np.random.default_rng(1).permutation(150)
    assert interval(mean(VALUES[order], groups[order])) == pytest.approx(interval(mean(VALUES, groups)), abs=1e-12)
    assert interval(mean(VALUES)) == interval(mean(VALUES))
    assert interval(mean(VALUES), seed=1) != interval(mean(VALUES))


def test_one_group_and_equal_examples_have_an_interval_without_width() -> None:
    assert interval(mean(VALUES, np.zeros(150))) == pytest.approx((VALUES.mean(), VALUES.mean()))
    assert interval(mean(np.ones(9))) == (1.0, 1.0)


def test_draws_without_anything_to_measure_do_not_count() -> None:
    parts = np.array([[3.0, 1.0], [0.0, 0.0], [5.0, 1.0]])  # one draw of 27 is the middle one three times
    assert interval(Scores(statistics=parts, groups=np.arange(3), metric=ratio)) == (3.0, 5.0)


def test_more_groups_than_are_drawn_from_give_the_same_interval() -> None:
    values = np.random.default_rng(5).normal(2.0, 1.0, 60_001)
    low, high = interval(mean(values), resamples=400)
    assert (high - low) / 2 == pytest.approx(1.96 / np.sqrt(60_001), rel=0.15)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.002)


def test_many_parts_are_added_up_to_fewer_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_MAX_NUMBERS", 4_000)
    monkeypatch.setattr(own, "_MIN_UNITS", 500)
    values = np.random.default_rng(5).normal(2.0, 1.0, 5_000)
    low, high = interval(mean(values), resamples=400)
    assert (high - low) / 2 == pytest.approx(1.96 / np.sqrt(5_000), rel=0.2)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_equal_models_have_even_chances_and_a_better_one_has_more(higher_is_better: bool) -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, 150)
    better = mean(VALUES + noise + (0.05 if higher_is_better else -0.05))
    same, equal = mean(VALUES), mean(VALUES.copy())
    assert chance_of_being_better(equal, same, higher_is_better=higher_is_better) == 0.5
    chance = chance_of_being_better(better, same, higher_is_better=higher_is_better)
    assert chance > 0.99  # on the same draws, small differences show that two intervals would hide
    assert chance_of_being_better(same, better, higher_is_better=higher_is_better) == pytest.approx(1 - chance)
    low, high = interval(same)
    assert low < better.value() < high


def test_the_chance_is_what_a_paired_bootstrap_by_hand_finds() -> None:
    ours, theirs = VALUES[:40], np.random.default_rng(4).permutation(VALUES[:40])
    generator = np.random.default_rng(9)
    draws = generator.integers(0, 40, (20_000, 40))
    expected = np.mean((ours - theirs)[draws].mean(axis=1) > 0)
    groups = np.arange(40)
    found = chance_of_being_better(
        mean(ours + 0.3, groups), mean(theirs + 0.3, groups), higher_is_better=True, resamples=20_000
    )
    assert found == pytest.approx(expected, abs=0.02)


def test_models_that_were_asked_other_examples_are_not_compared() -> None:
    with pytest.raises(ValueError, match="only be compared on the same examples: found 150 and 149 examples"):
        chance_of_being_better(mean(VALUES), mean(VALUES[1:]), higher_is_better=True)


@pytest.mark.parametrize("better_by", [0.0, 0.2, 0.5])
def test_a_difference_has_scipys_interval_and_its_t_tests_p(better_by: float) -> None:
    others = VALUES + np.random.default_rng(5).normal(better_by, 1.5, 150)
    found = difference(mean(others), mean(VALUES), resamples=20_000)
    theirs = bootstrap((others - VALUES,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert found.value == pytest.approx(float(np.mean(others - VALUES)))
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=0.02)
    assert found.p == pytest.approx(ttest_rel(others, VALUES).pvalue, abs=0.01)


def test_two_that_are_equal_differ_by_nothing() -> None:
    found = difference(mean(VALUES), mean(VALUES))
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="only be compared on the same examples"):
        difference(mean(VALUES), mean(VALUES[1:]))

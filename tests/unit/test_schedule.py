import pytest

from stages.training.schedule import factor, plateaus
from tests.unit.test_loop import PARAMS


def changed(**values):
    return PARAMS.model_copy(update=values)


def test_learning_rate_rises_then_falls_along_a_cosine():
    assert factor(PARAMS, 0, 100, []) == pytest.approx(0.1)
    assert factor(PARAMS, 9, 100, []) == pytest.approx(1.0)
    assert factor(PARAMS, 55, 100, []) == pytest.approx(0.5)
    assert factor(PARAMS, 100, 100, []) == pytest.approx(0.0)


def test_a_constant_rate_stays_after_the_rise():
    params = changed(schedule="constant")
    assert factor(params, 0, 100, []) == pytest.approx(0.1)
    assert factor(params, 99, 100, [1.0, 2.0, 3.0]) == 1.0


def test_a_plateau_halves_the_rate():
    params = changed(schedule="plateau", plateau_patience=2, plateau_factor=0.5)
    assert factor(params, 50, 100, [3.0, 2.0, 2.5]) == 1.0
    assert factor(params, 50, 100, [3.0, 2.0, 2.5, 2.4]) == 0.5
    assert factor(params, 50, 100, [3.0, 2.0, 2.5, 2.4, 1.9]) == 0.5


def test_plateaus_are_counted_from_the_best_value_on():
    assert plateaus([], 2) == 0
    assert plateaus([1.0, 1.0, 1.0], 2) == 1  # equal is not better
    assert plateaus([1.0, 1.0, 1.0, 1.0, 1.0], 2) == 2
    assert plateaus([5.0, 4.0, 4.5, 3.0, 3.5, 2.0], 2) == 0
    assert plateaus([1.0, float("nan"), float("nan")], 2) == 1

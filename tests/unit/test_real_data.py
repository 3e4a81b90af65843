"""`benchmarks.real_data` keeps intervals beside their values and averages both over seeds."""

from benchmarks.command import mean
from benchmarks.real_data import with_intervals

METRICS = {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95, "ece": 0.02, "signature": "n:3"}


def test_an_interval_stands_beside_its_value() -> None:
    assert with_intervals(METRICS) == {
        "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95},
        "ece": 0.02,
        "signature": "n:3",
    }


def test_the_mean_of_two_seeds_is_that_of_their_values_and_bounds() -> None:
    first = {"task": "sketch", "seed": "1", **with_intervals(METRICS)}
    second = {"task": "sketch", "seed": "2", "accuracy": {"value": 0.7, "low": 0.6, "high": 0.75}, "ece": 0.04}
    found = mean([first, second])
    assert found.keys() == {"accuracy", "ece"}
    assert [round(found["accuracy"][part], 3) for part in ("value", "low", "high")] == [0.8, 0.7, 0.85]
    assert round(found["ece"], 3) == 0.03

"""How sure a metric is: what each example adds to it, drawn again with replacement.

A metric of a whole split is a function of sums over its examples: accuracy of how many and how many right, mean
absolute error of days and errors, BLEU of n-grams found and n-grams said. So a resampled metric needs only each
example's `statistics`: the counts of a draw times the statistics are the sums.

Examples that are alike (clips of one actor, forecasts from neighbouring days) are drawn together, as a group; drawn one
by one they would make the metric look surer than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
# More groups than this, or more numbers in all their statistics, are first added up at random into fewer units.
_MAX_UNITS, _MAX_NUMBERS = 20_000, 4_000_000
_MIN_UNITS = 1_000
_DRAWS_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What each example adds to a metric.

    `statistics` is `(examples, numbers)`; `groups` `(examples,)`, equal where examples are drawn together; `metric`
    makes `(draws,)` values of `(draws, numbers)` sums.
    """

    statistics: np.ndarray
    groups: np.ndarray
    metric: Callable[[np.ndarray], np.ndarray]

    def value(self) -> float:
        """The metric of all examples."""
        return float(self.metric(self.statistics.sum(axis=0)[np.newaxis])[0])

    def subset(self, chosen: np.ndarray) -> Scores:
        """The same of some examples: a mask, or their numbers."""
        return Scores(statistics=self.statistics[chosen], groups=self.groups[chosen], metric=self.metric)


def mean(values: np.ndarray, groups: np.ndarray | None = None) -> Scores:
    """A metric that is the mean of `values`, `(examples,)`; each its own group where none are given."""
    statistics = np.column_stack([np.asarray(values, dtype=np.float64), np.ones(len(values))])
    return Scores(statistics=statistics, groups=np.arange(len(values)) if groups is None else groups, metric=ratio)


def accuracy(answers: Sequence[object], truth: Sequence[object], groups: np.ndarray | None = None) -> Scores:
    """The share of answers that are the truth; a missing answer (None, NaN) is wrong.

    Raises ValueError where there are more or fewer answers than truths.
    """
    if len(answers) != len(truth):
        raise ValueError(
            f"found {len(answers)} answers to {len(truth)} examples; allowed: one answer per example, in order"
        )
    return mean(np.array([answer == target for answer, target in zip(answers, truth, strict=True)], dtype=bool), groups)


def ratio(sums: np.ndarray) -> np.ndarray:
    """The first sum by the second, `(draws, 2)` to `(draws,)`."""
    return sums[:, 0] / sums[:, 1]


def interval(
    scores: Scores, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The metric's confidence interval, by the percentile bootstrap (Efron, 1979) over groups.

    One group alone gives the value twice, and so do examples that are all alike, such as right answers only: neither
    says how sure the value is. Draws that leave the metric undefined, such as one without any observed day, do not
    count.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = scores.metric(_resample(scores, resamples, seed))
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(np.where(np.isfinite(drawn), drawn, np.nan), [tail, 1 - tail])
    return float(low), float(high)


def chance_of_being_better(
    candidate: Scores, champion: Scores, *, higher_is_better: bool, resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """The share of draws in which the candidate is better, both measured on the same draw (a paired bootstrap: Koehn,
    2004, https://aclanthology.org/W04-3250); draws in which they are equal count half. 0 to 1.

    Raises ValueError where the two were not measured on the same examples.
    """
    differences = _paired_differences(candidate, champion, resamples, seed)
    better = differences if higher_is_better else -differences
    return float(np.mean((better > 0) + (better == 0) / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """By how much two metrics differ on the same examples."""

    value: float
    low: float  # the ends of its 95 % interval
    high: float
    p: float  # how often chance alone makes a difference at least as large, in either direction


def difference(candidate: Scores, other: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """The candidate's metric less the other's, by a paired bootstrap.

    `p` is from the draws moved to a mean of zero, as if there were no difference (Riezler and Maxwell, 2005,
    https://aclanthology.org/W05-0908). Raises ValueError where the two were not measured on the same examples.
    """
    value = candidate.value() - other.value()
    differences = _paired_differences(candidate, other, resamples, seed)
    low, high = np.quantile(differences, [0.025, 0.975])
    beyond = int((np.abs(differences - differences.mean()) >= abs(value)).sum())
    return Difference(value=value, low=float(low), high=float(high), p=(beyond + 1) / (resamples + 1))


def _paired_differences(candidate: Scores, other: Scores, resamples: int, seed: int) -> np.ndarray:
    """The candidate's metric less the other's, both measured on the same draw, `(draws,)`."""
    if not np.array_equal(candidate.groups, other.groups):
        raise ValueError(
            f"two models can only be compared on the same examples: found {len(candidate.groups)} and "
            f"{len(other.groups)} examples in different groups"
        )
    ours, theirs = (scores.metric(_resample(scores, resamples, seed)) for scores in (candidate, other))
    return ours - theirs


def _resample(scores: Scores, resamples: int, seed: int) -> np.ndarray:
    """The sums of each draw, `(draws, numbers)`; for as many groups and the same seed, always the same draws."""
    units = _sum_by(scores.statistics, np.unique(scores.groups, return_inverse=True)[1])
    generator = np.random.default_rng(seed)
    most = max(_MIN_UNITS, min(_MAX_UNITS, _MAX_NUMBERS // units.shape[1]))
    if len(units) > most:
        units = _sum_by(units, generator.permutation(len(units)) % most)
    count = len(units)
    drawn = np.empty((resamples, units.shape[1]))
    for start in range(0, resamples, _DRAWS_AT_ONCE):
        part = drawn[start : start + _DRAWS_AT_ONCE]
        times = [np.bincount(generator.integers(0, count, count), minlength=count) for _ in part]
        part[:] = np.stack(times).astype(np.float64) @ units
    return drawn


def _sum_by(statistics: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The sums over the rows of each group, `(rows,)` numbers from 0: `(groups, numbers)`."""
    return np.stack([np.bincount(group, weights=column) for column in statistics.T], axis=1)

"""Answers to labelled examples, compared with what `evaluate` found on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.bootstrap import Scores, interval
from ..evaluation.report import format_interval, with_interval
from ..metrics import higher_is_better
from .scoring import Scored

_FEWEST = 30  # examples that can say that a model has become worse
_MAX_SLICES = 400  # of the file's right answers, where they are classes


def judge(
    metric: str, scores: Scores, evaluated: Mapping[str, Any], targets: Sequence[str], notes: Sequence[str] = ()
) -> Scored:
    """Compare the `metric` of some answers with that of the evaluation, both with their 95 % intervals.

    The verdict is alarm where the interval of the difference lies on the worse side as a whole. It is made of the two
    intervals (MOVER: Zou and Donner, 2008, https://doi.org/10.1002/sim.3095), since the two sets of examples have
    nothing to do with each other. Where the evaluation knows no interval, its value counts as exact. Fewer than 30
    examples raise no alarm: where all of them are wrong, an interval has no width.
    """
    value, (low, high) = scores.value(), interval(scores)
    before = float(evaluated[metric])
    before_low, before_high = (float(evaluated.get(f"{metric}{end}", before)) for end in ("_low", "_high"))
    difference = value - before
    lowest = difference - np.hypot(value - low, before_high - before)
    highest = difference + np.hypot(high - value, before - before_low)
    count = len(scores.statistics)
    worse = count >= _FEWEST and bool(highest < 0 if higher_is_better(metric) else lowest > 0)
    found = {"value": value, "low": low, "high": high, "n": count}
    found |= {"evaluation": before, "evaluation_low": before_low, "evaluation_high": before_high}
    found |= {"difference": difference, "difference_low": float(lowest), "difference_high": float(highest)}
    reason = "worse than in the evaluation" if worse else "not significantly worse than in the evaluation"
    if count < _FEWEST:
        reason = f"too few to tell; allowed: {_FEWEST} or more"
    summary = (
        f"{metric} {format_interval(value, low, high)} on {count:,} examples, "
        f"{with_interval(evaluated, metric)} in the evaluation: {reason}"
    )
    return Scored(
        verdict="alarm" if worse else "none",
        alarms=(),
        summary=summary,
        metrics={metric: found},
        table=pd.DataFrame(),
        slices=_by_target(metric, scores, targets),
        notes=tuple(notes),
    )


def _by_target(metric: str, scores: Scores, targets: Sequence[str]) -> pd.DataFrame:
    """The metric by right answer, where these are classes: fewer than examples by far."""
    names, which = np.unique(np.asarray(targets, dtype=str), return_inverse=True)
    if len(names) > min(_MAX_SLICES, len(targets) // 2):
        return pd.DataFrame(columns=["slice", "value", "n", metric])
    rows = [
        ("class", name, int((which == place).sum()), scores.subset(which == place).value())
        for place, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=["slice", "value", "n", metric])

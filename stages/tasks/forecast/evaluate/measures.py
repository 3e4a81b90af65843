"""The scores of forecasts as sums of each day's part, so that they can be drawn again and parted by day and series."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....evaluation import bootstrap as sureness
from ....evaluation.bootstrap import Scores
from . import scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What came: `(origins, 7)` values, which of them were observed, and their days since 1970-01-01; of each origin
    the row of its series in the store, and which origins are alike, `(origins,)`; what MASE divides by, `(series,)`.
    """

    actual: np.ndarray
    observed: np.ndarray
    days: np.ndarray
    rows: np.ndarray
    groups: np.ndarray
    scales: np.ndarray


def by_day(truth: Truth, forecast: np.ndarray) -> np.ndarray:
    """The mean absolute error of each day ahead, `(7,)`."""
    return scores.mean_error(scores.absolute_errors(truth.actual, forecast, truth.observed), axis=0)


def all_scores(truth: Truth, mean: np.ndarray, quantiles: np.ndarray, levels: list[float]) -> dict[str, Scores]:
    """Those of the mean, `(origins, 7)`, and of the quantiles, `(origins, 7, levels)`; an example is a forecast day
    that was observed.
    """
    low, high = (quantiles[..., levels.index(level)] for level in (0.05, 0.95))
    losses, sizes = scores.quantile_losses(truth.actual, quantiles, levels, truth.observed)
    return {
        **point_scores(truth, mean),
        "wql": _of_days(truth, losses, sizes),
        "coverage_90": _mean_of_days(truth, scores.inside(truth.actual, low, high, truth.observed)),
    }


def point_scores(truth: Truth, forecast: np.ndarray) -> dict[str, Scores]:
    """`mae`, `rmse`, `mase` and `smape` of a forecast, `(origins, 7)`; an example is as in `all_scores`."""
    errors = scores.absolute_errors(truth.actual, forecast, truth.observed)
    percent = scores.percentage_errors(truth.actual, forecast, truth.observed)
    return {
        "mae": _mean_of_days(truth, errors),
        "rmse": replace(_mean_of_days(truth, errors**2), metric=_root_of_mean),
        "mase": _mean_of_days(truth, errors / truth.scales[truth.rows][:, None]),
        "smape": _mean_of_days(truth, percent),
    }


def skill(truth: Truth, forecast: np.ndarray, baseline: np.ndarray) -> Scores:
    """One less the mean absolute error of `forecast` by that of `baseline`, drawn together."""
    ours, theirs = (scores.absolute_errors(truth.actual, each, truth.observed) for each in (forecast, baseline))
    return replace(_of_days(truth, ours, theirs), metric=_share_saved)


def _of_days(truth: Truth, numerators: np.ndarray, denominators: np.ndarray) -> Scores:
    seen = truth.observed
    groups = np.broadcast_to(truth.groups[:, None], seen.shape)[seen]
    parts = np.stack([numerators[seen], denominators[seen]], axis=1)
    return Scores(statistics=parts, groups=groups, metric=sureness.ratio)


def _mean_of_days(truth: Truth, values: np.ndarray) -> Scores:
    """The mean of `(origins, 7)` values over what is not NaN."""
    known = ~np.isnan(values)
    return _of_days(truth, np.where(known, values, 0.0), known.astype(np.float64))


def _root_of_mean(sums: np.ndarray) -> np.ndarray:
    return np.sqrt(sureness.ratio(sums))


def _share_saved(sums: np.ndarray) -> np.ndarray:
    return 1.0 - sureness.ratio(sums)

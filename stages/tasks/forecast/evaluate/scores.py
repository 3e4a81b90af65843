"""How good forecasts are, as sums of each day's part, so that a score can be resampled and broken down by day and
series. Forecasts are `(origins, 7)`, their quantiles `(origins, 7, levels)`; days that were not observed do not count.

Formulas: Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, 5.8 and 5.9; sMAPE in percent
as in the M4 competition; weighted quantile loss as in GluonTS: twice the pinball loss, averaged over the levels, by the
absolute values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ....evaluation.bootstrap import Scores, ratio
from ..data.series import HORIZON, SEASON
from ..model.windows import RawWindows

_MANY_SERIES = 30  # from so many on they are what is drawn again; of fewer, four weeks of each
_BLOCK_DAYS = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Actuals:
    """What came."""

    values: np.ndarray  # (origins, 7)
    observed: np.ndarray  # (origins, 7) bool
    days: np.ndarray  # (origins, 7), since 1970-01-01
    series: np.ndarray  # (origins,), the row of each one's series in the store
    groups: np.ndarray  # (origins,), equal where forecasts are alike
    scales: np.ndarray  # (series,), what MASE divides by

    def of(self, chosen: np.ndarray) -> Actuals:
        """Those of some origins, by a mask."""
        parts = {name: getattr(self, name)[chosen] for name in ("values", "observed", "days", "series", "groups")}
        return replace(self, **parts)

    def errors(self, forecast: np.ndarray) -> np.ndarray:
        """Absolute errors in the series' unit, `(origins, 7)`, NaN where nothing was observed."""
        return np.where(self.observed, np.abs(self.values - forecast), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """What the network forecasts from all origins, and what the baselines do; NaN where one was not fitted."""

    mean: np.ndarray
    quantiles: np.ndarray
    levels: list[float]
    baselines: Mapping[str, np.ndarray]


def read_actuals(windows: RawWindows) -> Actuals:
    """What came in the seven days of each window."""
    examples, store = range(len(windows)), windows.store
    values, observed = (np.stack(part) for part in zip(*map(windows.future, examples), strict=True))
    series, origins = np.array([windows.locate(i) for i in examples]).T
    first_days = np.array([windows.history(i).next_day for i in examples])
    # MASE divides by the seasonal naive error before the test days.
    scales = [
        naive_scale(store.sequence("values", row)[:end], store.sequence("observed", row)[:end] > 0)
        for row, end in enumerate(store.column("validation_end").tolist())
    ]
    return Actuals(
        values=values,
        observed=observed,
        days=first_days[:, None] + np.arange(HORIZON),
        series=series,
        groups=groups(series, origins),
        scales=np.array(scales),
    )


def all_scores(actuals: Actuals, mean: np.ndarray, quantiles: np.ndarray, levels: list[float]) -> dict[str, Scores]:
    """Those of the mean and of the quantiles; an example is a forecast day that was observed."""
    low, high = (quantiles[..., levels.index(level)] for level in (0.05, 0.95))
    inside = ((low <= actuals.values) & (actuals.values <= high)).astype(float)
    level, error = np.asarray(levels), actuals.values[..., None] - quantiles
    pinball = np.maximum(level * error, (level - 1) * error).mean(axis=-1)
    return {
        **point_scores(actuals, mean),
        "wql": _ratio_of_days(actuals, 2 * pinball, np.abs(actuals.values)),
        "coverage_90": _mean_of_days(actuals, inside),
    }


def point_scores(actuals: Actuals, forecast: np.ndarray) -> dict[str, Scores]:
    """`mae`, `rmse`, `mase` and `smape`; an example is as in `all_scores`."""
    errors = actuals.errors(forecast)
    size = np.abs(actuals.values) + np.abs(forecast)
    # 0 to 200; two zeros are no error.
    percent = 200.0 * np.divide(np.abs(actuals.values - forecast), size, out=np.zeros_like(size), where=size > 0)
    return {
        "mae": _mean_of_days(actuals, errors),
        "rmse": replace(_mean_of_days(actuals, errors**2), metric=lambda sums: np.sqrt(ratio(sums))),
        "mase": _mean_of_days(actuals, errors / actuals.scales[actuals.series][:, None]),
        "smape": _mean_of_days(actuals, percent),
    }


def baseline_scores(actuals: Actuals, mean: np.ndarray, baseline: np.ndarray) -> tuple[dict[str, float], Scores]:
    """A baseline's `mae`, `mase` and `smape`, and the skill of `mean` over it.

    Where the baseline was fitted at some origins alone, the skill is that of these, and each score is the ratio
    estimate for all of them: the baseline's at its origins, times the network's at all by the network's at those
    (Cochran, "Sampling Techniques", 3rd edition, 6.2). So the baseline stands to the network's scores as it does where
    both were measured, and easy or hard origins that were left out favour neither.
    """
    fitted = ~np.isnan(baseline).any(axis=1)
    some = actuals.of(fitted)
    points = {name: score.value() for name, score in point_scores(some, baseline[fitted]).items() if name != "rmse"}
    if not fitted.all():
        whole, part = point_scores(actuals, mean), point_scores(some, mean[fitted])
        points = {name: value * _by(whole[name].value(), part[name].value()) for name, value in points.items()}
    return points, skill(some, mean[fitted], baseline[fitted])


def _by(whole: float, part: float) -> float:
    return whole / part if part else np.nan


def skill(actuals: Actuals, forecast: np.ndarray, baseline: np.ndarray) -> Scores:
    """One less the mean absolute error of `forecast` by that of `baseline`, drawn together."""
    both = _ratio_of_days(actuals, actuals.errors(forecast), actuals.errors(baseline))
    return replace(both, metric=lambda sums: 1.0 - ratio(sums))


def mean_error(errors: np.ndarray, *, axis: int | None = None) -> np.ndarray:
    """The mean over what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(errors)
    with np.errstate(invalid="ignore"):
        return np.where(known, errors, 0.0).sum(axis=axis) / known.sum(axis=axis)


def naive_scale(values: np.ndarray, observed: np.ndarray) -> float:
    """The mean error of repeating the value of a week ago within `(time,)`: what MASE divides by. NaN where unknown."""
    known = observed[SEASON:] & observed[:-SEASON]
    errors = np.abs(values[SEASON:] - values[:-SEASON])[known]
    return float(errors.mean()) if len(errors) and errors.any() else np.nan


def groups(series: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Which forecasts are alike, `(forecasts,)`: those of one series, or, of few series, those whose origins lie in the
    same four weeks of one, since the weather of a week, or a strike, spoils neighbouring forecasts together.
    """
    if len(np.unique(series)) >= _MANY_SERIES:
        return series
    blocks = np.stack([series, origins // _BLOCK_DAYS], axis=1)
    return np.unique(blocks, axis=0, return_inverse=True)[1]


def _ratio_of_days(actuals: Actuals, numerators: np.ndarray, denominators: np.ndarray) -> Scores:
    seen = actuals.observed
    groups_of_days = np.broadcast_to(actuals.groups[:, None], seen.shape)[seen]
    statistics = np.stack([numerators[seen], denominators[seen]], axis=1)
    return Scores(statistics=statistics, groups=groups_of_days, metric=ratio)


def _mean_of_days(actuals: Actuals, values: np.ndarray) -> Scores:
    """The mean over the observed days, without those of a series whose scale is unknown."""
    known = ~np.isnan(values)
    return _ratio_of_days(actuals, np.where(known, values, 0.0), known.astype(np.float64))

"""How good forecasts are. Arrays are `(origins, 7)`; days that were not observed do not count.

Formulas: Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, 5.8 and 5.9; sMAPE in percent
as in the M4 competition; weighted quantile loss as in GluonTS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.series import SEASON

_MANY_SERIES = 30  # from so many on they are what is drawn again; of fewer, four weeks of each
_BLOCK_DAYS = 28


def absolute_errors(actual: np.ndarray, forecast: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """`(origins, 7)` in the series' unit, NaN where nothing was observed."""
    return np.where(observed, np.abs(actual - forecast), np.nan)


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


def percentage_errors(actual: np.ndarray, forecast: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """What sMAPE is the mean of: 0 to 200, `(origins, 7)`, NaN where nothing was observed; two zeros are no error."""
    size = np.abs(actual) + np.abs(forecast)
    errors = 200.0 * np.divide(np.abs(actual - forecast), size, out=np.zeros_like(size), where=size > 0)
    return np.where(observed, errors, np.nan)


def quantile_losses(
    actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float], observed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the weighted quantile loss is a ratio of sums of: twice the pinball loss, averaged over the levels, and the
    absolute value, both `(origins, 7)` and 0 where nothing was observed. `quantiles` is `(origins, 7, levels)`.
    """
    error = actual[..., None] - quantiles
    level = np.asarray(levels)
    pinball = np.maximum(level * error, (level - 1) * error).mean(axis=-1)
    return np.where(observed, 2 * pinball, 0.0), np.where(observed, np.abs(actual), 0.0)


def inside(actual: np.ndarray, low: np.ndarray, high: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """1 where a day lies within the band, borders included, else 0: `(origins, 7)`, NaN where nothing was observed."""
    return np.where(observed, ((low <= actual) & (actual <= high)).astype(float), np.nan)


def groups(series: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Which forecasts are alike, `(forecasts,)`: those of one series, or, of few series, those whose origins lie in the
    same four weeks of one, since the weather of a week, or a strike, spoils neighbouring forecasts together.
    """
    if len(np.unique(series)) >= _MANY_SERIES:
        return series
    blocks = np.stack([series, origins // _BLOCK_DAYS], axis=1)
    return np.unique(blocks, axis=0, return_inverse=True)[1]

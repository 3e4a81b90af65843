"""The network against the baselines, on the same origins in the test days."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....engine import predict
from ....reporting import Report
from ..model.network import Forecaster
from ..model.windows import Windows, rolling_origins
from ..params import Params
from ..prepare.series import HORIZON
from . import pictures, scores
from .baselines import autoets_beside, naive, seasonal_naive

BATCH_SIZE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What came: `(origins, 7)` values and which of them were observed; for each origin its row in the store."""

    actual: np.ndarray
    observed: np.ndarray
    rows: np.ndarray  # (origins,)


def evaluate(network: Forecaster, folder: Path, params: Params, report: Report) -> None:
    """Scores of the mean (`mae`, `rmse`, `mase`, `smape`, a `mae_day_N` for each day ahead), of the median
    (`mae_of_median`) and of the quantiles (`wql`, `coverage_90`); `baseline_NAME_mae` and `…_mase`; pictures.

    The mean is the point forecast here because it is what the registered model answers under that name. A score that
    the data does not define, such as `mase` of a series that repeats itself every week, is left out. Raises ValueError
    where no test day was observed.
    """
    settings = params.evaluate
    windows = Windows(folder, params.model, rolling_origins(settings.origins, settings.origin_step))
    examples = range(len(windows))
    pasts = [windows.past(i).values for i in examples]
    with ExitStack() as stack:
        # Exponential smoothing takes longest: it runs in other processes while the network forecasts.
        waiting = None
        if "autoets" in settings.baselines:
            # No limit is 0, and `past[-0:]` is the whole of it.
            shortened = [np.array(past[-settings.autoets_days :]) for past in pasts]
            waiting = stack.enter_context(autoets_beside(shortened, processes=settings.processes))
        forecasts = predict(network, windows, BATCH_SIZE, network.forecast)
        values, observed = (np.stack(part) for part in zip(*(windows.future(i) for i in examples), strict=True))
        if not observed.any():
            raise ValueError("nothing to measure: no day after the origins of the test split was observed")
        truth = Truth(actual=values, observed=observed, rows=np.array([windows.locate(i)[0] for i in examples]))
        baselines: dict[str, np.ndarray] = {}
        if "naive" in settings.baselines:
            baselines["naive"] = np.stack([naive(past) for past in pasts])
        if "seasonal_naive" in settings.baselines:
            baselines["seasonal_naive"] = np.stack([seasonal_naive(past) for past in pasts])
        if waiting is not None:
            baselines["autoets"], failed = waiting()
            report.measured({"autoets_failed_fits": failed})
    mean, quantiles = forecasts[..., 0], forecasts[..., 1:]
    levels = params.model.quantiles
    series_scales = _scales(windows)
    report.measured(_point_scores(truth, mean, series_scales), n=len(windows))
    report.measured(_distribution_scores(truth, quantiles, levels))
    for name, forecast in baselines.items():
        found = _point_scores(truth, forecast, series_scales)
        report.measured({f"baseline_{name}_{key}": found[key] for key in ("mae", "mase") if key in found})
    report.predictions(
        (round(float(a), 6), round(float(p), 6))
        for a, p in zip(truth.actual[truth.observed], mean[truth.observed], strict=True)
    )
    report.picture("forecasts", pictures.fans(windows, mean, quantiles, levels, baselines))
    errors = {"network": mean, **baselines}
    report.picture("error_by_day", pictures.error_by_day({k: _by_day(truth, f) for k, f in errors.items()}))


def _scales(windows: Windows) -> np.ndarray:
    """What MASE divides by, for each series: the seasonal naive error before the test days."""
    store = windows.store
    ends = store.column("validation_end")
    return np.array(
        [
            scores.naive_scale(store.sequence("values", row)[:end], store.sequence("observed", row)[:end] > 0)
            for row, end in enumerate(ends.tolist())
        ]
    )


def _by_day(truth: Truth, forecast: np.ndarray) -> np.ndarray:
    """The mean absolute error of each day ahead, `(7,)`."""
    return scores.mean_error(scores.absolute_errors(truth.actual, forecast, truth.observed), axis=0)


def _point_scores(truth: Truth, forecast: np.ndarray, series_scales: np.ndarray) -> dict[str, float]:
    errors = scores.absolute_errors(truth.actual, forecast, truth.observed)
    by_day = scores.mean_error(errors, axis=0)
    return _defined(
        {
            "mae": float(scores.mean_error(errors)),
            "rmse": float(np.sqrt(scores.mean_error(errors**2))),
            "mase": float(scores.mean_error(errors / series_scales[truth.rows][:, None])),
            "smape": scores.smape(truth.actual, forecast, truth.observed),
            **{f"mae_day_{day + 1}": float(by_day[day]) for day in range(HORIZON)},
        }
    )


def _distribution_scores(truth: Truth, quantiles: np.ndarray, levels: list[float]) -> dict[str, float]:
    actual, observed = truth.actual, truth.observed
    low, median, high = (quantiles[..., levels.index(level)] for level in (0.05, 0.5, 0.95))
    return _defined(
        {
            "mae_of_median": float(scores.mean_error(scores.absolute_errors(actual, median, observed))),
            "wql": scores.weighted_quantile_loss(actual, quantiles, levels, observed),
            "coverage_90": scores.coverage(actual, low, high, observed),
        }
    )


def _defined(found: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in found.items() if math.isfinite(value)}

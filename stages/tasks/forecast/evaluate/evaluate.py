"""The network against the baselines, on the same origins in the test days."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .... import scores as sureness
from ....calibration import calibration_figure
from ....engine import predict
from ....reporting import Calibration, Report
from ....scores import Scores
from ....slices import sliced, slices_figure
from ..model.network import Forecaster
from ..model.windows import Windows, rolling_origins
from ..params import Params
from ..prepare.series import HORIZON
from . import pictures, scores
from .baselines import autoets_beside, naive, seasonal_naive

BATCH_SIZE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What came: `(origins, 7)` values and which of them were observed; of each origin the row of its series in the
    store, and which origins are alike, `(origins,)`.
    """

    actual: np.ndarray
    observed: np.ndarray
    rows: np.ndarray
    groups: np.ndarray


def evaluate(network: Forecaster, folder: Path, params: Params, report: Report) -> None:
    """Scores of the mean (`mae`, `rmse`, `mase`, `smape`, a `mae_day_N` for each day ahead), of the median
    (`mae_of_median`) and of the quantiles (`wql`, `coverage_90`); `baseline_NAME_mae` and `…_mase`; the mean absolute
    error by days ahead and by series; how often the truth lay below each quantile; pictures.

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
        rows, origins = np.array([windows.locate(i) for i in examples]).T
        truth = Truth(actual=values, observed=observed, rows=rows, groups=scores.groups(rows, origins))
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
    _report_scores(report, {**_point_scores(truth, mean, series_scales), **_band_scores(truth, quantiles, levels)})
    by_day = _by_day(truth, mean)
    median = scores.absolute_errors(truth.actual, quantiles[..., levels.index(0.5)], truth.observed)
    further = {"mae_of_median": float(scores.mean_error(median))}
    further |= {f"mae_day_{day + 1}": float(by_day[day]) for day in range(HORIZON)}
    report.measured({name: value for name, value in further.items() if math.isfinite(value)}, n=len(windows))
    for name, forecast in baselines.items():
        found = {key: s.value() for key, s in _point_scores(truth, forecast, series_scales).items()}
        report.measured({f"baseline_{name}_{key}": found[key] for key in ("mae", "mase") if math.isfinite(found[key])})
    report.predictions(
        (round(float(a), 6), round(float(p), 6))
        for a, p in zip(truth.actual[truth.observed], mean[truth.observed], strict=True)
    )
    _report_slices(report, truth, mean, [str(windows.store.value("id", row)) for row in range(len(windows.store))])
    _report_calibration(report, truth, quantiles, levels)
    evenly = sureness.evenly(len(windows), pictures.FANS)
    drawn = pictures.Drawn(windows, mean, quantiles, levels, baselines)
    report.picture("forecasts", pictures.fans(drawn, evenly, "Forecasts from origins spread over the test days"))
    worst = _worst(truth, mean, series_scales, pictures.FANS)
    title = "The largest errors, from different weeks or series"
    report.picture("mistakes", pictures.fans(drawn, worst, title))
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


def _point_scores(truth: Truth, forecast: np.ndarray, series_scales: np.ndarray) -> dict[str, Scores]:
    errors = scores.absolute_errors(truth.actual, forecast, truth.observed)
    percent = scores.percentage_errors(truth.actual, forecast, truth.observed)
    return {
        "mae": _mean_of_days(errors, truth.groups),
        "rmse": replace(_mean_of_days(errors**2, truth.groups), metric=_root_of_mean),
        "mase": _mean_of_days(errors / series_scales[truth.rows][:, None], truth.groups),
        "smape": _mean_of_days(percent, truth.groups),
    }


def _band_scores(truth: Truth, quantiles: np.ndarray, levels: list[float]) -> dict[str, Scores]:
    low, high = (quantiles[..., levels.index(level)] for level in (0.05, 0.95))
    inside = scores.inside(truth.actual, low, high, truth.observed)
    losses, sizes = scores.quantile_losses(truth.actual, quantiles, levels, truth.observed)
    weighted = np.stack([losses.sum(axis=1), sizes.sum(axis=1)], axis=1)
    return {
        "wql": Scores(parts=weighted, groups=truth.groups, metric=sureness.ratio),
        "coverage_90": _mean_of_days(inside, truth.groups),
    }


def _mean_of_days(values: np.ndarray, groups: np.ndarray) -> Scores:
    """The mean of `(origins, 7)` values over what is not NaN."""
    parts = np.stack([np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)], axis=1)
    return Scores(parts=parts, groups=groups, metric=sureness.ratio)


def _root_of_mean(sums: np.ndarray) -> np.ndarray:
    return np.sqrt(sureness.ratio(sums))


def _report_scores(report: Report, measured: Mapping[str, Scores]) -> None:
    with np.errstate(invalid="ignore"):
        report.scored({name: found for name, found in measured.items() if math.isfinite(found.value())})


def _report_slices(report: Report, truth: Truth, mean: np.ndarray, names: list[str]) -> None:
    origin, ahead = np.nonzero(truth.observed)
    errors = np.abs(truth.actual - mean)[origin, ahead]
    days = sureness.mean(errors, truth.groups[origin])
    parts = sliced(days, "days ahead", ahead, [str(day + 1) for day in range(HORIZON)], higher_is_better=False)
    if len(names) > 1:
        parts += sliced(days, "series", truth.rows[origin], names, higher_is_better=False)
    report.slices(parts)
    report.picture("slices", slices_figure(parts, days.value(), "mean absolute error"))


def _report_calibration(report: Report, truth: Truth, quantiles: np.ndarray, levels: list[float]) -> None:
    below = (truth.actual[..., None] <= quantiles)[truth.observed]
    days = len(below)
    shares = below.mean(axis=0).tolist()
    report.calibration([Calibration(expected=e, observed=o, n=days) for e, o in zip(levels, shares, strict=True)])
    figure = calibration_figure(
        report.calibrated,
        expected="quantile",
        observed="days on which the truth lay at or below it",
        title=f"Quantiles on {days:,} days; the 90 % band holds {report.metrics['coverage_90']:.1%}",
    )
    report.picture("calibration", figure)


def _worst(truth: Truth, mean: np.ndarray, series_scales: np.ndarray, count: int) -> np.ndarray:
    """The origins with the largest mean errors, `(count,)`, each from another group. An error counts in units of what
    repeating the last week is wrong by: otherwise the largest series would have all the pictures.
    """
    errors = scores.mean_error(scores.absolute_errors(truth.actual, mean, truth.observed), axis=1)
    known = series_scales[truth.rows]
    errors = np.nan_to_num(errors / np.where(np.isnan(known), 1.0, known), nan=0.0)
    order = np.argsort(-errors, kind="stable")
    _, first = np.unique(truth.groups[order], return_index=True)
    return order[np.sort(first)][:count]

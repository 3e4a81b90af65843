"""The network against the baselines, on the same origins in the test days."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....data.evenly import evenly
from ....evaluation.bootstrap import Scores
from ....evaluation.calibration import calibration_figure
from ....evaluation.report import Calibration, Report, Slice
from ....evaluation.slices import metric_by_slice, slices_figure
from ....progress_bar import busy, duration, tell
from ....training.inference import predict
from ..data.holidays import names_by_day
from ..data.series import HORIZON, calendar_date, weekday
from ..model.network import Forecaster
from ..model.windows import Windows, rolling_origins, train_origins, validation_origins
from ..params import NEEDED_QUANTILES, EvaluateParams, ModelParams, Params
from . import pictures, scores
from .baselines import STATISTICS, chosen_fits, fit_seconds, naive, seasonal_naive, statistics_in_background
from .boosting import lightgbm
from .ridge import ridge
from .scores import Actuals, Forecasts

BATCH_SIZE = 512
_LEARNED = {"ridge": ridge, "lightgbm": lightgbm}  # from the training windows, once for all origins
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def evaluate(network: Forecaster, folder: Path, params: Params, report: Report) -> None:
    """Scores of the mean (`mae`, `rmse`, `mase`, `smape`, a `mae_day_N` for each day ahead), of the median
    (`mae_of_median`) and of the quantiles (`wql`, `coverage_90`); `baseline_NAME_mae`, `…_mase` and `…_smape`;
    `skill_NAME`, one less the network's error by the baseline's; by days ahead, weekday and series the mean absolute
    error, and in `slices.csv` every other score by days ahead and series; how often the truth lay below each quantile;
    pictures.

    The mean is the point forecast here because it is what the registered model answers under that name. A score that
    the data does not define, such as `mase` of a series that repeats itself every week, is left out.
    `NAME_left_out_fits` counts the origins at which a baseline was not fitted; `scores.baseline_scores` says how it is
    measured then. Raises ValueError where no test day was observed.
    """
    windows = Windows(folder, params.model, rolling_origins(params.evaluate.origins, params.evaluate.origin_step))
    actuals = scores.read_actuals(windows)
    if not actuals.observed.any():
        raise ValueError("nothing to measure: the test split has no observed day after its forecast origins")
    forecasts = _forecasts(network, windows, folder, params, report)
    measured = scores.all_scores(actuals, forecasts.mean, forecasts.quantiles, forecasts.levels)
    report.add_scores(_defined(measured))
    by_day = scores.mean_error(actuals.errors(forecasts.mean), axis=0)
    median = forecasts.quantiles[..., forecasts.levels.index(0.5)]
    others = {"mae_of_median": float(scores.mean_error(actuals.errors(median)))}
    others |= {f"mae_day_{day + 1}": float(by_day[day]) for day in range(HORIZON)}
    report.add_metrics(_finite(others), n=len(windows))
    for name, forecast in forecasts.baselines.items():
        points, skill = scores.baseline_scores(actuals, forecasts.mean, forecast)
        report.add_metrics(_finite({f"baseline_{name}_{key}": value for key, value in points.items()}))
        report.add_scores(_defined({f"skill_{name}": skill}))
    names = [str(windows.store.value("id", row)) for row in range(len(windows.store))]
    _report_predictions(report, actuals, forecasts, names)
    _report_slices(report, actuals, measured, names)
    _report_calibration(report, actuals, forecasts)
    holidays = windows.data["holidays"]
    _draw(report, windows, actuals, forecasts, {} if holidays is None else names_by_day(holidays))


def _forecasts(network: Forecaster, windows: Windows, folder: Path, params: Params, report: Report) -> Forecasts:
    """All forecasts from the origins of `windows`; how many statistical fits failed, or were left out, is reported."""
    settings = params.evaluate
    histories = [windows.history(i).values for i in range(len(windows))]
    statistics = [name for name in settings.baselines if name in STATISTICS]
    # These take longest: they run in other processes while the network forecasts. No limit is 0, and `history[-0:]` is
    # the whole of it.
    recent = [np.array(history[-settings.autoets_days :]) for history in histories]
    baselines: dict[str, np.ndarray] = {}
    chosen = chosen_fits(statistics, list(map(len, recent)), settings.baseline_minutes)
    chosen_histories = [recent[place] for place in chosen]
    if statistics:
        tell(_announced(statistics, chosen_histories, len(recent), settings))
    with statistics_in_background(statistics, chosen_histories, processes=settings.processes) as fitted:
        forecasts = predict(network, windows, BATCH_SIZE, network.forecast)
        if "naive" in settings.baselines:
            baselines["naive"] = np.stack([naive(history) for history in histories])
        if "seasonal_naive" in settings.baselines:
            baselines["seasonal_naive"] = np.stack([seasonal_naive(history) for history in histories])
        splits = (train_origins, validation_origins, rolling_origins(settings.origins, settings.origin_step))
        for name in (name for name in settings.baselines if name in _LEARNED):
            told = fully_told(params.model, windows.data)
            with busy(f"baseline {name}"):
                baselines[name] = _LEARNED[name](*(Windows(folder, told, origins) for origins in splits))
        for name in statistics:
            baselines[name] = np.full((len(recent), HORIZON), np.nan)
            baselines[name][chosen], failed = fitted(name)
            report.add_metrics({f"{name}_failed_fits": failed})
            if left_out := len(recent) - len(chosen):
                report.add_metrics({f"{name}_left_out_fits": left_out})
    return Forecasts(
        mean=forecasts[..., 0], quantiles=forecasts[..., 1:], levels=params.model.quantiles, baselines=baselines
    )


def fully_told(model: ModelParams, data: Mapping[str, Any]) -> ModelParams:
    """Params of windows that tell all that the data knows of a day ahead, whatever the network is told: who takes a
    simpler model would give it the calendar, holidays, known columns and the year before, too.
    """
    offered = [name for name in ("holidays", "known_columns") if data.get(name)]
    return model.model_copy(update={"covariates": ["day_of_week", "day_of_year", *offered], "last_year": True})


def _announced(names: Sequence[str], histories: Sequence[np.ndarray], origins: int, settings: EvaluateParams) -> str:
    """What the fits of the models `names` cost, before they start."""
    seconds = sum(fit_seconds(name, len(history)) for name in names for history in histories)
    models, processes = " and ".join(STATISTICS[name] for name in names), settings.processes
    text = f"{models}: {len(names) * len(histories):,} fits in {processes} processes, "
    text += f"about {duration(seconds / processes)}"
    if left_out := len(names) * (origins - len(histories)):
        text += f"; {left_out:,} more are skipped, since evaluate.baseline_minutes is {settings.baseline_minutes:g}"
    return text


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _defined(measured: Mapping[str, Scores]) -> dict[str, Scores]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: score for name, score in measured.items() if math.isfinite(score.value())}


def _report_predictions(report: Report, actuals: Actuals, forecasts: Forecasts, names: list[str]) -> None:
    seen = actuals.observed
    which, ahead = np.nonzero(seen)
    # Named as in the registered model's answers: q05, q50, q95.
    quantiles = {f"q{100 * q:02.0f}": forecasts.quantiles[..., forecasts.levels.index(q)] for q in NEEDED_QUANTILES}
    report.write_predictions(
        actuals.values[seen].tolist(),
        forecasts.mean[seen].tolist(),
        unique_id=[names[row] for row in actuals.series[which]],
        ds=[calendar_date(int(day)).isoformat() for day in actuals.days[seen]],
        day_ahead=(ahead + 1).tolist(),
        **{name: values[seen].tolist() for name, values in quantiles.items()},
    )


def _report_slices(report: Report, actuals: Actuals, measured: Mapping[str, Scores], names: list[str]) -> None:
    shape, seen = actuals.values.shape, actuals.observed
    kinds = {
        "days ahead": (np.broadcast_to(np.arange(HORIZON), shape), [str(day + 1) for day in range(HORIZON)]),
        "weekday": (weekday(actuals.days), WEEKDAYS),
    }
    if len(names) > 1:
        kinds["series"] = (np.broadcast_to(actuals.series[:, None], shape), names)
    errors: list[Slice] = []
    others: list[Slice] = []
    for kind, (which, values) in kinds.items():
        errors += metric_by_slice(measured["mae"], kind, which[seen], values, higher_is_better=False)
        if kind != "weekday":
            for name in (name for name in _defined(measured) if name != "mae"):
                title = f"{kind}: {name}"
                others += metric_by_slice(measured[name], title, which[seen], values, higher_is_better=False)
    report.write_slices(errors, others)
    report.save_figure("slices", slices_figure(errors, measured["mae"].value(), "mean absolute error"))


def _report_calibration(report: Report, actuals: Actuals, forecasts: Forecasts) -> None:
    below = (actuals.values[..., None] <= forecasts.quantiles)[actuals.observed]
    days = len(below)
    shares = below.mean(axis=0).tolist()
    report.write_calibration(
        [Calibration(expected=e, observed=o, n=days) for e, o in zip(forecasts.levels, shares, strict=True)]
    )
    figure = calibration_figure(
        report.calibration,
        expected="quantile",
        observed="share of days at or below it",
        title=f"Quantiles on {days:,} days; the 90 % band covers {report.metrics['coverage_90']:.1%}",
    )
    report.save_figure("calibration", figure)


def _draw(
    report: Report, windows: Windows, actuals: Actuals, forecasts: Forecasts, holidays: Mapping[str, str]
) -> None:
    spread = evenly(len(windows), pictures.CHARTS)
    title = "Forecasts from origins spread over the test days"
    report.save_figure("forecasts", pictures.fan_charts(windows, forecasts, holidays, spread, title))
    worst = _largest_errors(actuals, forecasts.mean, pictures.CHARTS)
    title = "The largest errors, from different weeks or series"
    report.save_figure("mistakes", pictures.fan_charts(windows, forecasts, holidays, worst, title))
    fitted = ~np.isnan(sum(forecasts.baselines.values(), start=forecasts.mean)).any(axis=1)  # those of every baseline
    some, all_forecasts = actuals.of(fitted), {"network": forecasts.mean, **forecasts.baselines}
    errors = {name: some.errors(forecast[fitted]) for name, forecast in all_forecasts.items()}
    report.save_figure("error_by_day", pictures.error_by_day(errors, weekday(some.days)))


def _largest_errors(actuals: Actuals, mean: np.ndarray, count: int) -> np.ndarray:
    """The origins with the largest mean errors, `(count,)`, each from another group. An error counts in units of what
    repeating the last week is wrong by: otherwise the largest series would have all the pictures.
    """
    scales = actuals.scales[actuals.series]
    errors = scores.mean_error(actuals.errors(mean), axis=1) / np.where(np.isnan(scales), 1.0, scales)
    order = np.argsort(-np.nan_to_num(errors, nan=0.0), kind="stable")
    _, first = np.unique(actuals.groups[order], return_index=True)
    return order[np.sort(first)][:count]

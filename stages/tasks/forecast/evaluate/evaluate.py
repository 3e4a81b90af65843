"""The network against the baselines, on the same origins in the test days."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....data.prepared import open_prepared
from ....evaluation.bootstrap import Scores, evenly
from ....evaluation.calibration import calibration_figure
from ....evaluation.report import Calibration, Report, Slice
from ....evaluation.slices import metric_by_slice, slices_figure
from ....training.loop import predict
from ..data.holidays import names_by_day
from ..data.series import HORIZON, calendar_date
from ..model.network import Forecaster
from ..model.windows import Windows, rolling_origins, train_origins, validation_origins
from ..params import NEEDED_QUANTILES, Params
from . import measures, pictures, scores
from .baselines import STATISTICS, naive, seasonal_naive, statistics_beside
from .measures import Truth
from .ridge import ridge

BATCH_SIZE = 512
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """What the network says and what the baselines say: `mean` and each baseline `(origins, 7)`, `quantiles`
    `(origins, 7, levels)`.
    """

    mean: np.ndarray
    quantiles: np.ndarray
    baselines: Mapping[str, np.ndarray]


def evaluate(network: Forecaster, folder: Path, params: Params, report: Report) -> None:
    """Scores of the mean (`mae`, `rmse`, `mase`, `smape`, a `mae_day_N` for each day ahead), of the median
    (`mae_of_median`) and of the quantiles (`wql`, `coverage_90`); `baseline_NAME_mae`, `…_mase` and `…_smape`;
    `skill_NAME`, one less the network's error by the baseline's; by days ahead, weekday and series the mean absolute
    error, and in `slices.csv` every other score by days ahead and series; how often the truth lay below each quantile;
    pictures.

    The mean is the point forecast here because it is what the registered model answers under that name. A score that
    the data does not define, such as `mase` of a series that repeats itself every week, is left out. Raises ValueError
    where no test day was observed.
    """
    settings = params.evaluate
    windows = Windows(folder, params.model, rolling_origins(settings.origins, settings.origin_step))
    values, observed = (np.stack(part) for part in zip(*(windows.future(i) for i in range(len(windows))), strict=True))
    if not observed.any():
        raise ValueError("nothing to measure: no day after the origins of the test split was observed")
    rows, origins = np.array([windows.locate(i) for i in range(len(windows))]).T
    first_days = np.array([windows.past(i).next_day for i in range(len(windows))])
    truth = Truth(
        actual=values,
        observed=observed,
        rows=rows,
        groups=scores.groups(rows, origins),
        days=first_days[:, None] + np.arange(HORIZON),
        scales=_scales(windows),
    )
    found = _forecasts(network, windows, folder, params, report)
    levels = params.model.quantiles
    measured = measures.all_scores(truth, found.mean, found.quantiles, levels)
    report.add_scores(_defined(measured))
    by_day = measures.by_day(truth, found.mean)
    median = scores.absolute_errors(values, found.quantiles[..., levels.index(0.5)], observed)
    further = {"mae_of_median": float(scores.mean_error(median))}
    further |= {f"mae_day_{day + 1}": float(by_day[day]) for day in range(HORIZON)}
    report.add_metrics(_finite(further), n=len(windows))
    for name, forecast in found.baselines.items():
        points = {key: s.value() for key, s in measures.point_scores(truth, forecast).items() if key != "rmse"}
        report.add_metrics(_finite({f"baseline_{name}_{key}": value for key, value in points.items()}))
        report.add_scores(_defined({f"skill_{name}": measures.skill(truth, found.mean, forecast)}))
    names = [str(windows.store.value("id", row)) for row in range(len(windows.store))]
    _report_predictions(report, truth, found, levels, names)
    _report_slices(report, truth, measured, names)
    _report_calibration(report, truth, found.quantiles, levels)
    _draw(report, windows, truth, found, levels, open_prepared(folder)[1]["holidays"])


def _forecasts(network: Forecaster, windows: Windows, folder: Path, params: Params, report: Report) -> Forecasts:
    """All forecasts from the origins of `windows`; how many statistical fits failed is reported."""
    settings = params.evaluate
    pasts = [windows.past(i).values for i in range(len(windows))]
    asked = [name for name in settings.baselines if name in STATISTICS]
    baselines: dict[str, np.ndarray] = {}
    with ExitStack() as stack:
        waiting = None
        if asked:
            # Statistics take longest: they run in other processes while the network forecasts. No limit is 0, and
            # `past[-0:]` is the whole of it.
            shortened = [np.array(past[-settings.autoets_days :]) for past in pasts]
            waiting = stack.enter_context(statistics_beside(asked, shortened, processes=settings.processes))
        forecasts = predict(network, windows, BATCH_SIZE, network.forecast)
        if "naive" in settings.baselines:
            baselines["naive"] = np.stack([naive(past) for past in pasts])
        if "seasonal_naive" in settings.baselines:
            baselines["seasonal_naive"] = np.stack([seasonal_naive(past) for past in pasts])
        if "ridge" in settings.baselines:
            borders = (train_origins, validation_origins, rolling_origins(settings.origins, settings.origin_step))
            # Its inputs are the context's values and the calendar; the year before is the network's own.
            plain = params.model.model_copy(update={"last_year": False})
            baselines["ridge"] = ridge(*(Windows(folder, plain, origins) for origins in borders))
        if waiting is not None:
            for name, (forecast, failed) in waiting().items():
                baselines[name] = forecast
                report.add_metrics({f"{name}_failed_fits": failed})
    return Forecasts(mean=forecasts[..., 0], quantiles=forecasts[..., 1:], baselines=baselines)


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


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _defined(measured: Mapping[str, Scores]) -> dict[str, Scores]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: found for name, found in measured.items() if math.isfinite(found.value())}


def _report_predictions(
    report: Report, truth: Truth, found: Forecasts, levels: Sequence[float], names: Sequence[str]
) -> None:
    seen = truth.observed
    which, ahead = np.nonzero(seen)
    # Named as in the registered model's answers: q05, q50, q95.
    quantiles = {f"q{100 * q:02.0f}": found.quantiles[..., levels.index(q)] for q in NEEDED_QUANTILES}
    report.write_predictions(
        truth.actual[seen].tolist(),
        found.mean[seen].tolist(),
        unique_id=[names[row] for row in truth.rows[which]],
        ds=[calendar_date(int(day)).isoformat() for day in truth.days[seen]],
        day_ahead=(ahead + 1).tolist(),
        **{name: values[seen].tolist() for name, values in quantiles.items()},
    )


def _report_slices(report: Report, truth: Truth, measured: Mapping[str, Scores], names: list[str]) -> None:
    kinds = {
        "days ahead": (np.broadcast_to(np.arange(HORIZON), truth.actual.shape), [str(d + 1) for d in range(HORIZON)]),
        "weekday": ((truth.days + 3) % 7, WEEKDAYS),  # 1970-01-01 was a Thursday
    }
    if len(names) > 1:
        kinds["series"] = (np.broadcast_to(truth.rows[:, None], truth.actual.shape), names)
    seen = truth.observed
    parts: list[Slice] = []
    further: list[Slice] = []
    for kind, (which, parted) in kinds.items():
        parts += metric_by_slice(measured["mae"], kind, which[seen], parted, higher_is_better=False)
        if kind != "weekday":
            for name in (name for name in _defined(measured) if name != "mae"):
                further += metric_by_slice(
                    measured[name], f"{kind}: {name}", which[seen], parted, higher_is_better=False
                )
    report.write_slices(parts, further)
    report.save_figure("slices", slices_figure(parts, measured["mae"].value(), "mean absolute error"))


def _report_calibration(report: Report, truth: Truth, quantiles: np.ndarray, levels: list[float]) -> None:
    below = (truth.actual[..., None] <= quantiles)[truth.observed]
    days = len(below)
    shares = below.mean(axis=0).tolist()
    report.write_calibration([Calibration(expected=e, observed=o, n=days) for e, o in zip(levels, shares, strict=True)])
    figure = calibration_figure(
        report.calibration,
        expected="quantile",
        observed="days on which the truth lay at or below it",
        title=f"Quantiles on {days:,} days; the 90 % band holds {report.metrics['coverage_90']:.1%}",
    )
    report.save_figure("calibration", figure)


def _draw(
    report: Report, windows: Windows, truth: Truth, found: Forecasts, levels: list[float], holidays: dict | None
) -> None:
    days = {} if holidays is None else names_by_day(holidays)
    drawn = pictures.Drawn(windows, found.mean, found.quantiles, levels, found.baselines, days)
    some = evenly(len(windows), pictures.FANS)
    report.save_figure("forecasts", pictures.fans(drawn, some, "Forecasts from origins spread over the test days"))
    worst = _worst(truth, found.mean, pictures.FANS)
    report.save_figure("mistakes", pictures.fans(drawn, worst, "The largest errors, from different weeks or series"))
    errors = {
        name: scores.absolute_errors(truth.actual, forecast, truth.observed)
        for name, forecast in {"network": found.mean, **found.baselines}.items()
    }
    report.save_figure("error_by_day", pictures.error_by_day(errors, (truth.days + 3) % 7))


def _worst(truth: Truth, mean: np.ndarray, count: int) -> np.ndarray:
    """The origins with the largest mean errors, `(count,)`, each from another group. An error counts in units of what
    repeating the last week is wrong by: otherwise the largest series would have all the pictures.
    """
    errors = scores.mean_error(scores.absolute_errors(truth.actual, mean, truth.observed), axis=1)
    known = truth.scales[truth.rows]
    errors = np.nan_to_num(errors / np.where(np.isnan(known), 1.0, known), nan=0.0)
    order = np.argsort(-errors, kind="stable")
    _, first = np.unique(truth.groups[order], return_index=True)
    return order[np.sort(first)][:count]

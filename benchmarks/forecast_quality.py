"""How good the forecaster is on real series, beside AutoETS fitted at each origin, a ridge regression and LightGBM.

    python -m benchmarks.forecast_quality cta seattle melbourne births    each by a network of its own, by its recipe
    python -m benchmarks.forecast_quality kinds                           the kinds of network on Chicago's rail
    python -m benchmarks.forecast_quality global                          one network for the four series together
    python -m benchmarks.forecast_quality speed                           100 series of five years, against AutoETS
    python -m benchmarks.forecast_quality short                           series of 200 to 400 days

Chicago's rail is forecast from every day of 2018, the others from 51 weeks. Settings were chosen on the validation
days, which end before the test year begins. Errors are means of absolute errors over the seven days, in the series'
unit; intervals are of the bootstrap over blocks of four weeks. `saved` is by what share the network's error is smaller
than the row's. All on one thread.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from stages.data.prepared import open_prepared
from stages.models.weights import load_network
from stages.tasks.forecast.data.series import HORIZON
from stages.tasks.forecast.evaluate import scores
from stages.tasks.forecast.evaluate.baselines import naive, seasonal_naive, statistics, statistics_in_background
from stages.tasks.forecast.evaluate.boosting import lightgbm
from stages.tasks.forecast.evaluate.evaluate import fully_told
from stages.tasks.forecast.evaluate.ridge import ridge
from stages.tasks.forecast.evaluate.scores import Actuals, read_actuals
from stages.tasks.forecast.model.network import build
from stages.tasks.forecast.model.windows import (
    ORIGINS,
    Origins,
    Windows,
    rolling_origins,
    train_origins,
    validation_origins,
)
from stages.tasks.forecast.params import ModelParams
from stages.training import inference

from . import data, quality
from .data import Overlay
from .quality import Cell, Row, Trial

RECENT_DAYS = 1095  # that AutoETS is fitted to where the history is long
FILES = {
    "cta": "CTA_-_Ridership_-_Daily_Boarding_Totals.csv",
    "melbourne": "daily-min-temperatures.csv",
    "births": "US_births_2000-2014_SSA.csv",
}
Fit: TypeAlias = Callable[[Windows, Windows, Windows], np.ndarray]  # training, validation, test windows to forecasts
NAIVE = {"seasonal naive": seasonal_naive, "naive": naive}
SERIES = ("cta", "seattle", "melbourne", "births")
KINDS: Sequence[Overlay] = (
    {},
    *({"kind": kind} for kind in ("rnn", "lstm", "conv_gru", "seq2seq")),
    {"layers": 2},
    {"linear": "learned"},  # the closed form forecasts all seven days at once
    {"linear": "learned", "kind": "seq2seq", "decoding": "recursive"},
    {"linear": "learned", "decoding": "recursive"},
    {"blend": "seasonal_naive"},
    {"covariates": ["day_of_week", "day_of_year"]},
)
ONE_THREAD: Overlay = {"train": {"threads": 1}}
# Files in Nixtla's long format, and the settings for one network for the four series or one each.
LONG: Overlay = {"date_columns": ["ds"], "date_format": "%Y-%m-%d", "value_columns": ["y"], "id_column": "unique_id"}
FOUR: Overlay = {
    "prepare": {**LONG, "holidays": "US"},
    "model": {
        "covariates": ["day_of_week", "day_of_year", "holidays"],
        "holiday_days": 7,
        "last_year": True,
        "hidden_size": 64,
    },
    "train": {"threads": 1, "epochs": 12, "batch_size": 128, "learning_rate": 0.004, "weight_decay": 0.1},
}
HUNDRED: Overlay = {
    "prepare": {**LONG, "test_days": 84 + HORIZON},
    "model": {"members": 1, "last_year": True},
    "train": {"threads": 1, "epochs": 2, "batch_size": 512},
}
# What docs/own-data-forecast.md says to set for a short series: validation and test days by the days that there are.
SHORT_DAYS = {200: (28, 28), 300: (28, 56), 400: (42, 84)}
SHORT: Overlay = {
    "prepare": LONG,
    "model": {"covariates": ["day_of_week"]},
    "train": {"threads": 1, "epochs": 60},
}
SHORT_END = "2018-10-31"


@dataclass(frozen=True, kw_only=True, slots=True)
class Test:
    """Some windows, what came in them, and what the trial's network forecasts, `(windows, 7, 1 + quantiles)`."""

    windows: Windows
    actuals: Actuals
    forecast: np.ndarray

    @classmethod
    def of(cls, trial: Trial, origins: Origins, *, calibrated: bool = True) -> Test:
        """The windows from a split's origins; the network is trained where it is not there."""
        home, _ = trial.trained()
        network, _ = load_network(home, build, ModelParams)
        if not calibrated:
            network.margins.zero_()
        windows = Windows(trial.folder, trial.params.model, origins)
        return cls(
            windows=windows,
            actuals=read_actuals(windows),
            forecast=inference.predict(network, windows, 512, network.forecast),
        )

    def histories(self, days: int = 0) -> list[np.ndarray]:
        """The values before each origin: all of them, or so many days."""
        return [np.array(self.windows.history(i).values[-days:]) for i in range(len(self.windows))]


def _origins(trial: Trial) -> Origins:
    """Every test day of Chicago's year and of short series; of the other series 51 weeks."""
    return ORIGINS["test"] if trial.row.part in ("cta", "short") else rolling_origins(51, 7)


def _errors(test: Test, forecast: np.ndarray) -> dict[str, Cell]:
    points = scores.point_scores(test.actuals, forecast)
    return {"MAE": points["mae"], "MASE": points["mase"].value(), "sMAPE": points["smape"].value()}


def network(trial: Trial) -> Mapping[str, Cell]:
    """The network's mean and median, and what its 90 % band holds, as it is served and as the network learned it."""
    test = Test.of(trial, _origins(trial))
    levels = trial.params.model.quantiles
    cells = _errors(test, test.forecast[..., 0])
    median = test.forecast[..., 1 + levels.index(0.5)]
    cells["MAE of the median"] = scores.point_scores(test.actuals, median)["mae"]
    raw = Test.of(trial, _origins(trial), calibrated=False).forecast
    for when, forecast in (("", test.forecast), (" before calibration", raw)):
        scored = scores.all_scores(test.actuals, forecast[..., 0], forecast[..., 1:], levels)
        cells[f"in the 90 % band{when}"] = scored["coverage_90"].value()
        cells[f"WQL{when}"] = scored["wql"].value()
    return cells | {"training, s": trial.trained()[1]["training_seconds"], "origins": len(test.windows)}


def against(trial: Trial, by: Callable[[Trial, Test], np.ndarray]) -> Mapping[str, Cell]:
    """Another forecaster, and by what share the network's error is smaller."""
    test = Test.of(trial, _origins(trial))
    forecast = by(trial, test)
    return _errors(test, forecast) | {"saved": scores.skill(test.actuals, test.forecast[..., 0], forecast)}


def _by_history(trial: Trial, test: Test, model: str, days: int = 0) -> np.ndarray:
    """A statistical model or a naive forecast, from each origin's past or from its last days."""
    return _fitted(model, test.histories(days), trial.work)


def _by_ridge(trial: Trial, test: Test, model: Overlay) -> np.ndarray:
    """A ridge regression on the windows that the network reads, but for an overlay of `model`."""
    return _on_windows(trial, trial.overlaid({"model": model}).params.model, ridge)


def _by_learned(trial: Trial, test: Test, fit: Fit) -> np.ndarray:
    """A baseline of the evaluate stage, told all that is known of a day ahead."""
    return _on_windows(trial, fully_told(trial.params.model, test.windows.data), fit)


def _on_windows(trial: Trial, params: ModelParams, fit: Fit) -> np.ndarray:
    """What `fit` answers to the test windows, learned from those of training and validation."""
    splits = (train_origins, validation_origins, _origins(trial))
    return fit(*(Windows(trial.folder, params, origins) for origins in splits))


def on_all_history(trial: Trial) -> Mapping[str, Cell]:
    """Whether the last years are enough for AutoETS: the errors with both, on every 12th origin."""
    test = Test.of(trial, _origins(trial))
    cells: dict[str, Cell] = {}
    for name, days in (("with all history", 0), (f"with {RECENT_DAYS} days", RECENT_DAYS)):
        forecast = _fitted("autoets", test.histories(days)[::12], trial.work)
        cells[f"MAE {name}"] = float(np.abs(forecast - test.actuals.values[::12]).mean())
    return cells


def _fitted(name: str, pasts: Sequence[np.ndarray], work: Path) -> np.ndarray:
    """What a model says after each of `pasts`, `(pasts, 7)`; fits are made in two processes and kept on disk."""
    if name in NAIVE:
        return np.stack([NAIVE[name](past) for past in pasts])

    def fit() -> dict[str, Any]:
        with statistics_in_background([name], pasts, processes=2) as results:
            forecasts, failed = results(name)
        print(f"{name}: {len(pasts)} fits, {failed} failed", flush=True)
        return {"forecasts": forecasts.tolist()}

    values = hashlib.sha256(b"".join(past.tobytes() for past in pasts)).hexdigest()
    facts = {"model": name, "lengths": [len(past) for past in pasts], "pasts": values}
    return np.array(data.kept(work / "statistics", facts, fit)["forecasts"])


def of_validation(trial: Trial) -> Mapping[str, Cell]:
    """The error on the validation days alone."""
    test, (_, training) = Test.of(trial, ORIGINS["validation"]), trial.trained()
    error = scores.point_scores(test.actuals, test.forecast[..., 0])["mae"].value()
    return {"MAE of 2017": error, "weights": training["weights"], "training, s": training["training_seconds"]}


def together(trial: Trial, series: Sequence[str]) -> Mapping[str, Cell]:
    """The error on 51 weeks of each of some series, by one network for them."""
    path = trial.work / f"long-{'-'.join(series)}.csv"
    _write_long(path, (_values(trial, name) for name in series))
    own = trial.overlaid({"source": {"kind": "csv", "url": path.as_uri()}})
    test = Test.of(own, rolling_origins(51, 7))
    errors = test.actuals.errors(test.forecast[..., 0])
    names = test.windows.store.column("id").tolist()
    return {f"MAE, {name}": float(np.nanmean(errors[test.actuals.series == row])) for row, name in enumerate(names)}


def short(trial: Trial, days: int) -> Mapping[str, Cell]:
    """The errors on the test days of the last `days` days of Chicago's bus and rail up to `SHORT_END`."""
    table = pd.read_csv(trial.source / FILES["cta"]).drop_duplicates("service_date")
    table["ds"] = pd.to_datetime(table["service_date"], format="%m/%d/%Y")
    table = table[table["ds"] <= SHORT_END].sort_values("ds").tail(days)
    path = trial.work / f"short-{days}.csv"
    _write_long(path, ((name, table["ds"].iloc[0], table[name].to_numpy()) for name in ("bus", "rail_boardings")))
    validation_days, test_days = SHORT_DAYS[days]
    prepare = {"validation_days": validation_days, "test_days": test_days}
    own = trial.overlaid({"source": {"kind": "csv", "url": path.as_uri()}, "prepare": prepare})
    test = Test.of(own, _origins(own))
    forecasts = {
        "network": test.forecast[..., 0],
        "seasonal naive": _fitted("seasonal naive", test.histories(), trial.work),
        "ridge": _on_windows(own, own.params.model, ridge),
    }
    cells: dict[str, Cell] = {"days": days, "forecasts": len(test.windows)}
    cells |= {name: scores.point_scores(test.actuals, one)["mae"].value() for name, one in forecasts.items()}
    levels = own.params.model.quantiles
    scored = scores.all_scores(test.actuals, test.forecast[..., 0], test.forecast[..., 1:], levels)
    return cells | {"in the 90 % band": scored["coverage_90"].value()}


def _values(trial: Trial, name: str) -> tuple[str, date, np.ndarray]:
    """A series' name, first day and values, NaN where none was observed."""
    row = next(row for row in ROWS if row.part == name)
    store = open_prepared(Trial.of(row, trial.source, trial.work).folder)[0]
    values = np.where(store.sequence("observed", 0) > 0, store.sequence("values", 0), np.nan)
    return name, store.value("start", 0), values


def _write_long(path: Path, series: Iterable[tuple[str, date, np.ndarray]]) -> None:
    """Write series in Nixtla's long format: of each its name, first day and values, of which NaN are left out."""
    frames = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range(first, periods=len(values)), "y": values})
        for name, first, values in series
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(frames).dropna().to_csv(path, index=False)


def _hundred(trial: Trial) -> Iterable[tuple[str, date, np.ndarray]]:
    """Pieces of five years from three of the real series, each at another level, with noise of a tenth of their
    deviation: no real collection, but as long and as seasonal as one.
    """
    generator = np.random.default_rng(0)
    real = [_values(trial, name) for name in FILES]
    for number in range(100):
        _, start, values = real[number % len(real)]
        first = int(generator.integers(0, len(values) - 1826))
        piece = values[first : first + 1826]
        noisy = piece + generator.normal(0, 0.1 * np.nanstd(piece), len(piece))
        yield f"s{number:03d}", start + timedelta(first), noisy * float(np.exp(generator.normal()))


def speed(trial: Trial) -> Mapping[str, Cell]:
    """100 daily series of five years, 12 weekly origins each: the network trains, forecasts and is scored in a process
    while AutoETS is fitted in another; how far that one is when the network is done.
    """
    path = trial.work / "hundred.csv"
    _write_long(path, _hundred(trial))
    own = trial.overlaid({"source": {"kind": "csv", "url": path.as_uri()}})
    windows = Windows(own.folder, own.params.model, rolling_origins(12, 7))
    pasts = [np.array(windows.history(i).values) for i in range(len(windows))]
    context = multiprocessing.get_context("spawn")
    done, begun = context.Value("i", 0), context.Event()
    process = context.Process(target=_count_fits, args=(pasts, done, begun), daemon=True)
    process.start()
    begun.wait()
    before, started = done.value, time.perf_counter()
    own.trained(anew=True)
    test = Test.of(own, rolling_origins(12, 7))
    mase = scores.point_scores(test.actuals, test.forecast[..., 0])["mase"].value()
    seconds, fits = time.perf_counter() - started, done.value - before
    process.terminate()
    process.join()
    naively = _fitted("seasonal naive", pasts, trial.work)
    return {
        "series": len(windows.store),
        "forecasts": len(pasts),
        "to train, forecast and score, s": seconds,
        "MASE": mase,
        "MASE of seasonal naive": scores.point_scores(test.actuals, naively)["mase"].value(),
        "fits of AutoETS in that time": fits,
    }


def _count_fits(pasts: Sequence[np.ndarray], done: Any, begun: Any) -> None:
    statistics("autoets", pasts[:1])  # its imports and what it compiles are not counted
    begun.set()
    for past in pasts:
        statistics("autoets", [past])
        done.value += 1


_CALENDAR: Mapping[str, Overlay] = {"ridge, the network's calendar": {"last_year": False}}
_HOLIDAYS: Mapping[str, Overlay] = {
    **_CALENDAR,
    "ridge, holidays and the days beside them": {"holiday_days": 1, "last_year": False},
    "ridge, no holidays": {"covariates": ["day_of_week", "day_of_year"], "last_year": False},
}
_ETS = {"AutoETS": partial(_by_history, model="autoets")}
_RECENT_ETS = {f"AutoETS, last {RECENT_DAYS} days": partial(_by_history, model="autoets", days=RECENT_DAYS)}
_THETA = {"AutoTheta": partial(_by_history, model="autotheta", days=RECENT_DAYS)}
# By series: the fits and the ridges that its network is compared with.
BASELINES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Overlay]]] = {
    "cta": (_RECENT_ETS, _HOLIDAYS),
    "seattle": (_ETS | _THETA, _CALENDAR),
    "melbourne": (_ETS | _THETA, _CALENDAR),
    "births": (_ETS | _RECENT_ETS | _THETA, _HOLIDAYS),
}


def _rows(series: str) -> Iterable[Row]:
    fits, ridges = BASELINES[series]
    others = {
        "lightgbm": partial(_by_learned, fit=lightgbm),
        "ridge": partial(_by_learned, fit=ridge),
        **fits,
        **{name: partial(_by_ridge, model=model) for name, model in ridges.items()},
        **{name: partial(_by_history, model=name) for name in NAIVE},
    }
    measured: dict[str, Any] = {"network": network} | {name: partial(against, by=by) for name, by in others.items()}
    if series == "cta":
        measured["AutoETS, every 12th origin"] = on_all_history
    recipe, file = (series, FILES[series]) if series in FILES else ("", "")  # Seattle's are those of params.yaml
    for name, by in measured.items():
        name = f"{series}/{name}"
        yield Row(name=name, task="forecast", recipe=recipe, file=file, overlay=ONE_THREAD, measure=by)


ROWS = (
    *(row for series in SERIES for row in _rows(series)),
    *(
        Row(
            name="kinds/" + (", ".join(f"{key} {value}" for key, value in model.items()) or "nothing"),
            recipe="cta",
            file=FILES["cta"],
            overlay={**ONE_THREAD, "model": model},
            measure=of_validation,
        )
        for model in KINDS
    ),
    *(
        Row(name=f"global/{name}", task="forecast", overlay=FOUR, measure=partial(together, series=series))
        for name, series in {"one network for the four": SERIES, **{f"{one} alone": (one,) for one in SERIES}}.items()
    ),
    Row(name="speed/100 series", task="forecast", overlay=HUNDRED, measure=speed),
    *(
        Row(name=f"short/{days} days", task="forecast", overlay=SHORT, measure=partial(short, days=days))
        for days in SHORT_DAYS
    ),
)

if __name__ == "__main__":
    quality.main("forecast_quality", __doc__, ROWS, host="series")

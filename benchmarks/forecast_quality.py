"""How good the forecaster is on real series, beside AutoETS fitted anew at each origin and beside a ridge regression.

    python -m benchmarks.forecast_quality cta seattle melbourne births    each by a network of its own, by its recipe
    python -m benchmarks.forecast_quality kinds                           the kinds of network on Chicago's rail
    python -m benchmarks.forecast_quality global                          one network for the four series together
    python -m benchmarks.forecast_quality speed                           100 series of five years, against AutoETS

    --data FOLDER  where the files lie (../shared/data/series)      --work FOLDER  what is kept between calls

Chicago's rail is forecast from every day of 2018, the others from 51 weeks. Settings were chosen on the validation
days, which end before the test year begins. Errors are means of absolute errors over the seven days, in the series'
unit; in brackets the 95 % interval of the bootstrap over blocks of four weeks. What statistics say is kept in the work
folder. All on the CPU, one thread.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.prepared import open_prepared
from stages.evaluation.bootstrap import Scores, interval
from stages.params import load
from stages.tasks.forecast.data.series import HORIZON
from stages.tasks.forecast.evaluate import scores
from stages.tasks.forecast.evaluate.baselines import naive, seasonal_naive, statistics, statistics_in_background
from stages.tasks.forecast.evaluate.ridge import ridge
from stages.tasks.forecast.evaluate.scores import Actuals, read_actuals
from stages.tasks.forecast.model.network import Forecaster, build, dataset
from stages.tasks.forecast.model.windows import Windows, rolling_origins, train_origins, validation_origins
from stages.tasks.forecast.params import ModelParams, Params
from stages.tasks.protocol import Task
from stages.training import distributed, inference, loop

from . import data

TASK = Task("forecast")
ALL_ORIGINS = 10**6
RECENT_DAYS = 1095  # that AutoETS is fitted to where the history is long
FILES = {
    "cta": "CTA_-_Ridership_-_Daily_Boarding_Totals.csv",
    "melbourne": "daily-min-temperatures.csv",
    "births": "US_births_2000-2014_SSA.csv",
}
SERIES = ("cta", "seattle", "melbourne", "births")
KINDS: Sequence[Mapping[str, Any]] = (
    *({"kind": kind} for kind in ("rnn", "lstm", "gru", "conv_gru", "seq2seq")),
    {"layers": 2},
    {"kind": "seq2seq", "decoding": "recursive"},
    {"decoding": "recursive"},
    {"blend": "seasonal_naive"},
    {"last_year": False},
    {"covariates": ["day_of_week", "day_of_year"]},
    {"members": 1},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypotheses:
    """A trained network and its forecasts of the test windows."""

    network: Forecaster
    windows: Windows
    actuals: Actuals
    origins: tuple[int, int]  # how many, and the days between two
    forecast: np.ndarray  # (windows, 7, 1 + quantiles)
    seconds: float


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*SERIES, "kinds", "global", "speed"])
    parser.add_argument("--data", type=Path, default=data.REPOSITORY / ".." / "shared" / "data" / "series")
    parser.add_argument("--work", type=Path, default=Path("/tmp/unroll-forecast-quality"))
    arguments = parser.parse_args()
    for part in arguments.parts:
        print(f"\n## {part}\n", flush=True)
        {"kinds": kinds, "global": together, "speed": speed}.get(part, _one(part))(arguments.data, arguments.work)


def _one(name: str) -> Callable[[Path, Path], None]:
    def measured(files: Path, work: Path) -> None:
        folder, params = _prepared(name, files, work)
        found = _trained(folder, params, _origins(name))
        _table(name, found, folder, params, work)

    return measured


def _prepared(name: str, files: Path, work: Path) -> tuple[Path, Params]:
    """A series' prepared data and its recipe's params; Seattle's are those of params.yaml."""
    if name == "seattle":
        folder, params = data.sample(TASK, work)
    else:
        folder, params = data.recipe(name, files / FILES[name], work)
    assert isinstance(params, Params)
    return folder, params


def _origins(name: str) -> tuple[int, int]:
    """How many origins, and the days between two: every day of Chicago's test year, else 51 weeks."""
    return (ALL_ORIGINS, 1) if name == "cta" else (51, 7)


def _trained(folder: Path, params: Params, origins: tuple[int, int]) -> Hypotheses:
    """Train as the stage does, and forecast from the test origins."""
    distributed.configure(seed=params.train.seed, threads=1)
    started = time.perf_counter()
    network = build(params.model, open_prepared(folder)[1])
    train, validation = (dataset(folder, split, params, augment=False) for split in ("train", "validation"))
    loop.fit(network, train, validation, params.train)
    network.calibrate(lambda answer: inference.predict(network, validation, params.train.batch_size, answer))
    windows = Windows(folder, params.model, rolling_origins(*origins))
    forecast = inference.predict(network, windows, 512, network.forecast)
    seconds = time.perf_counter() - started
    actuals = read_actuals(windows)
    return Hypotheses(
        network=network, windows=windows, actuals=actuals, origins=origins, forecast=forecast, seconds=seconds
    )


def _table(name: str, found: Hypotheses, folder: Path, params: Params, work: Path) -> None:
    """Print the network's error and each baseline's, and by how much the network's is smaller."""
    pasts = [found.windows.history(i).values for i in range(len(found.windows))]
    recent = [past[-RECENT_DAYS:] for past in pasts]
    median = 1 + params.model.quantiles.index(0.5)
    print(f"{len(pasts)} origins; trained and forecast in {found.seconds:.0f} s\n")
    print("| forecaster | MAE | MASE | sMAPE | network's error is smaller by |\n|---|---|---|---|---|")
    _row("network, mean", found.actuals, found.forecast[..., 0], None)
    _row("network, median", found.actuals, found.forecast[..., median], None)
    rows: dict[str, np.ndarray] = {}
    rows["AutoETS"] = _kept("autoets", recent if name == "cta" else pasts, work)
    if name == "births":
        rows[f"AutoETS, last {RECENT_DAYS} days"] = _kept("autoets", recent, work)
    if name != "cta":  # of 359 origins it would take a quarter of an hour
        rows["AutoTheta"] = _kept("autotheta", recent, work)
    for words, changes in _ridges(params.model).items():
        rows[words] = _ridge(folder, params.model.model_copy(update=changes), found.origins)
    rows["seasonal naive"] = np.stack([seasonal_naive(past) for past in pasts])
    rows["naive"] = np.stack([naive(past) for past in pasts])
    for words, forecast in rows.items():
        _row(words, found.actuals, forecast, found.forecast[..., 0])
    _band(found, params)
    if name == "cta":  # whether the last years are enough for AutoETS, on every twelfth origin
        some = slice(0, None, 12)
        truth, whole = found.actuals.values[some], _kept("autoets", pasts[some], work)
        errors = [np.abs(forecast - truth).mean() for forecast in (whole, rows["AutoETS"][some])]
        print(f"\nAutoETS on every 12th origin: {errors[0]:,.0f} with all history, {errors[1]:,.0f} with 1,095 days")


def _ridges(model: ModelParams) -> dict[str, dict[str, Any]]:
    """The ridge regressions a row is given: on the network's own calendar, and on more and less of it."""
    found: dict[str, dict[str, Any]] = {"ridge, the network's calendar": {"last_year": False}}
    if model.last_year:
        found["ridge, the network's calendar and the year before"] = {}
    plain = [name for name in model.covariates if name != "holidays"]
    if len(plain) < len(model.covariates):
        found["ridge, holidays and the days beside them"] = {"holiday_days": 1, "last_year": False}
        found["ridge, no holidays"] = {"covariates": plain, "last_year": False}
    if model.scaling != "window":
        found["ridge, scaled by window"] = {"scaling": "window"}
    return found


def _ridge(folder: Path, model: ModelParams, origins: tuple[int, int]) -> np.ndarray:
    train, validation = (Windows(folder, model, borders) for borders in (train_origins, validation_origins))
    return ridge(train, validation, Windows(folder, model, rolling_origins(*origins)))


def _row(words: str, actuals: Actuals, forecast: np.ndarray, network: np.ndarray | None) -> None:
    points = scores.point_scores(actuals, forecast)
    mae, mase, smape = (points[name] for name in ("mae", "mase", "smape"))
    saved = "" if network is None else _with_interval(scores.skill(actuals, network, forecast), "{:.1%}")
    digits = "{:,.0f}" if mae.value() > 100 else "{:.3f}"
    print(
        f"| {words} | {_with_interval(mae, digits)} | {mase.value():.3f} | {smape.value():.2f} | {saved} |", flush=True
    )


def _with_interval(found: Scores, digits: str) -> str:
    low, high = interval(found)
    return f"{digits.format(found.value())} [{digits.format(low)}, {digits.format(high)}]"


def _band(found: Hypotheses, params: Params) -> None:
    """What the 90 % band holds, as it is served and as the network learned it."""
    levels = params.model.quantiles
    raw = found.network.margins.clone()
    found.network.margins.zero_()
    uncalibrated = inference.predict(found.network, found.windows, 512, found.network.forecast)
    found.network.margins.copy_(raw)
    held = []
    for forecast in (found.forecast, uncalibrated):
        scored = scores.all_scores(found.actuals, forecast[..., 0], forecast[..., 1:], levels)
        held.append(f"{scored['coverage_90'].value():.1%} (WQL {scored['wql'].value():.4f})")
    print(f"\nThe 90 % band holds {held[0]}; before it was calibrated {held[1]}")


def _kept(name: str, pasts: Sequence[np.ndarray], work: Path) -> np.ndarray:
    """What a statistical model says after each of `pasts`, `(pasts, 7)`, fitted in two processes, kept on disk."""
    digest = hashlib.sha256(name.encode())
    for past in pasts:
        digest.update(np.ascontiguousarray(past).tobytes())
    path = work / "statistics" / f"{name}-{digest.hexdigest()[:16]}.npy"
    if not path.is_file():
        with statistics_in_background([name], [np.array(past) for past in pasts], processes=2) as fitted:
            forecasts, failed = fitted(name)
        print(f"{name}: {len(pasts)} fits, {failed} failed", flush=True) if failed else None
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, forecasts)
    return np.asarray(np.load(path))


def kinds(files: Path, work: Path) -> None:
    """Chicago's rail by each kind of network, the rest as in the recipe; on the validation year alone, 2017."""
    folder, params = _prepared("cta", files, work)
    print("| what is other than in the recipe | MAE of 2017 | weights | seconds |\n|---|---|---|---|")
    for changes in ({}, *KINDS):
        changed = params.model_copy(update={"model": params.model.model_copy(update=changes)})
        distributed.configure(seed=params.train.seed, threads=1)
        started = time.perf_counter()
        network = build(changed.model, open_prepared(folder)[1])
        train, validation = (dataset(folder, split, changed, augment=False) for split in ("train", "validation"))
        loop.fit(network, train, validation, changed.train)
        network.calibrate(lambda answer: inference.predict(network, validation, 512, answer))  # noqa: B023 - called at once
        forecast = inference.predict(network, validation, 512, network.forecast)[..., 0]
        error = scores.point_scores(read_actuals(validation), forecast)["mae"].value()
        words = ", ".join(f"{key} {value}" for key, value in changes.items()) or "nothing"
        weights = sum(weight.numel() for weight in network.parameters())
        print(f"| {words} | {error:,.0f} | {weights:,} | {time.perf_counter() - started:.0f} |", flush=True)


def together(files: Path, work: Path) -> None:
    """One network for the four series beside one each, with the same settings; 51 weeks of each series."""
    raw = work / "global.csv"
    if not raw.is_file():
        with raw.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("unique_id", "ds", "y"))
            for name in SERIES:
                store = open_prepared(_prepared(name, files, work)[0])[0]
                values, observed = store.sequence("values", 0), store.sequence("observed", 0)
                first: date = store.value("start", 0)
                for day in np.flatnonzero(observed).tolist():
                    writer.writerow((name, first + timedelta(day), repr(float(values[day]))))
    for scope, ids in (("one network for the four", SERIES), *((f"{name} alone", (name,)) for name in SERIES)):
        folder, params = _long_format(raw, ids, work)
        found = _trained(folder, params, (51, 7))
        for row, name in enumerate(found.windows.store.column("id").tolist()):
            mine = found.actuals.series == row
            error = np.abs(found.forecast[mine, :, 0] - found.actuals.values[mine])[found.actuals.observed[mine]].mean()
            print(f"{scope}: {name}: MAE {error:,.3f} ({found.seconds:.0f} s for all)", flush=True)


def _long_format(raw: Path, ids: Sequence[str], work: Path) -> tuple[Path, Params]:
    """Some series of a file in Nixtla's long format, with the same settings whichever they are."""
    path = work / f"long-{'-'.join(ids)}.csv"
    lines = raw.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line for line in lines[1:] if line.partition(",")[0] in ids)]) + "\n")
    params = load(data.REPOSITORY / "params.yaml")["forecast"]
    assert isinstance(params, Params)
    read = {"date_columns": ["ds"], "date_format": "%Y-%m-%d", "value_columns": ["y"], "id_column": "unique_id"}
    seen = {"covariates": ["day_of_week", "day_of_year", "holidays"], "holiday_days": 7, "last_year": True}
    params = params.model_copy(
        update={
            "source": params.source.model_copy(update={"kind": "csv", "url": path.resolve().as_uri()}),
            "prepare": params.prepare.model_copy(update={**read, "holidays": "US"}),
            "model": params.model.model_copy(update={**seen, "hidden_size": 64}),
            "train": params.train.model_copy(
                update={"epochs": 12, "batch_size": 128, "learning_rate": 0.004, "weight_decay": 0.1}
            ),
        }
    )
    return data.prepared(TASK, params, work), params


def speed(files: Path, work: Path) -> None:
    """100 daily series of five years, 12 weekly origins each: the network trains, forecasts and is scored in a process
    while AutoETS is fitted in another; how far that one is when the network is done.
    """
    folder, params = _hundred(files, work)
    windows = Windows(folder, params.model, rolling_origins(12, 7))
    pasts = [np.array(windows.history(i).values) for i in range(len(windows))]
    context = multiprocessing.get_context("spawn")
    done = context.Value("i", 0)
    begun = context.Event()
    process = context.Process(target=_count_fits, args=(pasts, done, begun), daemon=True)
    process.start()
    begun.wait()
    before, started = done.value, time.perf_counter()
    found = _trained(folder, params, (12, 7))
    mae = scores.point_scores(found.actuals, found.forecast[..., 0])["mase"].value()
    seconds, fits = time.perf_counter() - started, done.value - before
    process.terminate()
    process.join()
    naively = np.stack([seasonal_naive(past) for past in pasts])
    naive_mase = scores.point_scores(found.actuals, naively)["mase"].value()
    print(f"{len(windows.store)} series, {len(pasts):,} forecasts: {seconds:.0f} s to train, forecast and score")
    print(f"MASE {mae:.3f}; of seasonal naive {naive_mase:.3f}")
    print(f"AutoETS beside it, one process: {fits:,} of {len(pasts):,} fits in that time")


def _count_fits(pasts: Sequence[np.ndarray], done: Any, begun: Any) -> None:
    statistics("autoets", pasts[:1])  # its imports and what it compiles are not counted
    begun.set()
    for past in pasts:
        statistics("autoets", [past])
        done.value += 1


def _hundred(files: Path, work: Path) -> tuple[Path, Params]:
    """Stretches of five years from three of the real series, each at another level, with noise of a tenth of their
    deviation: no real collection, but as long and as seasonal as one.
    """
    generator = np.random.default_rng(0)
    stores = [open_prepared(_prepared(name, files, work)[0])[0] for name in FILES]
    path = work / "hundred.csv"
    work.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("unique_id", "ds", "y"))
        for number in range(100):
            store = stores[number % len(stores)]
            values = store.sequence("values", 0)
            first = int(generator.integers(0, len(values) - 1826))
            stretch = values[first : first + 1826]
            noisy = stretch + generator.normal(0, 0.1 * stretch.std(), len(stretch))
            noisy = noisy * float(np.exp(generator.normal()))
            start: date = store.value("start", 0)
            for day, value in enumerate(noisy.tolist()):
                writer.writerow((f"s{number:03d}", start + timedelta(first + day), f"{value:.6g}"))
    params = load(data.REPOSITORY / "params.yaml")["forecast"]
    assert isinstance(params, Params)
    read = {"date_columns": ["ds"], "date_format": "%Y-%m-%d", "value_columns": ["y"], "id_column": "unique_id"}
    params = params.model_copy(
        update={
            "source": params.source.model_copy(update={"kind": "csv", "url": path.resolve().as_uri()}),
            "prepare": params.prepare.model_copy(update={**read, "test_days": 84 + HORIZON}),
            "model": params.model.model_copy(update={"members": 1, "last_year": True}),
            "train": params.train.model_copy(update={"epochs": 2, "batch_size": 512}),
        }
    )
    return data.prepared(TASK, params, work), params


if __name__ == "__main__":
    main()

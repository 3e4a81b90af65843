"""What a refit on all data is worth: Chicago's rail and bus, each of the years 2014 to 2018 forecast by both networks.

    python -m benchmarks.refit                      both series, all five years
    python -m benchmarks.refit rail --years 2018

A year is forecast from each of its days, seven days ahead, by what was known when it began: `held back` is the network
that metrics speak of, whose training days end 730 days before the year (365 validation days and 365 test days are held
back); `refit` has learned up to the last day before the year, as `train.refit: all` serves it, and its bands are as
wide as the other one's. Settings are the recipe's (`recipes/cta.yaml`) but for `--members`, of which one saves time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.data.prepared import open_prepared
from stages.data.store import SPLITS
from stages.models.weights import start_from
from stages.provenance.hashes import code_md5
from stages.tasks.forecast.evaluate import scores
from stages.tasks.forecast.evaluate.scores import Actuals, read_actuals
from stages.tasks.forecast.model.network import Forecaster, build, dataset
from stages.tasks.forecast.model.windows import Windows, test_origins
from stages.tasks.protocol import Task
from stages.training import distributed, inference, loop

from . import command, data

FILE = "CTA_-_Ridership_-_Daily_Boarding_Totals.csv"
SERIES = {"rail": "rail_boardings", "bus": "bus"}
YEARS = range(2014, 2019)
HELD_BACK = 365  # days, for validation and for the test each


def prepared(source: Path, work: Path, series: str, last: str, test_days: int, members: int) -> tuple[Path, Any]:
    """The series up to its last day as the recipe prepares it, and the recipe's params."""
    column, path = SERIES[series], work / "refit" / f"{series}-{last}.csv"
    if not path.is_file():
        table = pd.read_csv(source / FILE)
        days = pd.to_datetime(table["service_date"], format="%m/%d/%Y")
        path.parent.mkdir(parents=True, exist_ok=True)
        table[days <= pd.Timestamp(last)].to_csv(path, columns=["service_date", column], index=False)
    _, params = data.recipe_params("cta", path, work)
    cut = {"value_columns": [column], "validation_days": HELD_BACK, "test_days": test_days}
    params = data.overlaid(params, {"prepare": cut, "model": {"members": members}, "train": {"threads": 1}})
    return data.prepared(Task("forecast"), params, work), params


def trained(folder: Path, params: Any, start: bytes | None = None) -> tuple[Forecaster, Forecaster]:
    """The measured and the served network of prepared data, as `stages.train` makes them; `start` is the content of a
    weights file that both start from.
    """
    _, description = open_prepared(folder)

    def fresh() -> Forecaster:
        distributed.configure(seed=params.train.seed, threads=params.train.threads)
        network = build(params.model, description)
        if start is not None:
            start_from(network, start, "start")
        return network

    measured, served = fresh(), fresh()
    train, validation = (dataset(folder, split, params, augment=False) for split in ("train", "validation"))
    history = loop.fit(measured, train, validation, params.train)
    measured.calibrate(partial(inference.predict, measured, validation, 512))
    loop.refit(served, dataset(folder, SPLITS, params, augment=False), params.train, history)
    served.match_calibration(
        measured, *(partial(inference.predict, one, validation, 512) for one in (served, measured))
    )
    return measured, served


def measure(source: Path, work: Path, series: str, year: int, members: int) -> dict[str, Any]:
    """Errors and coverage of both networks over a year."""
    folder, params = prepared(source, work, series, f"{year - 1}-12-31", HELD_BACK, members)
    days = len(pd.date_range(f"{year}-01-01", f"{year}-12-31"))
    later, _ = prepared(source, work, series, f"{year}-12-31", days, members)
    found: dict[str, Any] = {}
    for name, network in zip(("held back", "refit"), trained(folder, params), strict=True):
        found |= {f"{key}, {name}": value for key, value in errors(network, later, params).items()}
    return {**found, "saved": 1 - found["MAE, refit"] / found["MAE, held back"]}


def errors(network: Forecaster, later: Path, params: Any) -> dict[str, float]:
    """A network's error and coverage over the test days of data that go on after its own."""
    windows = Windows(later, params.model, test_origins)
    windows.features = network.features  # what was known of holidays when it learned
    actuals: Actuals = read_actuals(windows)
    forecast = inference.predict(network, windows, 512, network.forecast)
    scored = scores.all_scores(actuals, forecast[..., 0], forecast[..., 1:], params.model.quantiles)
    return {"MAE": scored["mae"].value(), "in the 90 % band": scored["coverage_90"].value()}


def main() -> None:
    """The command line."""
    parser = command.parser("refit", __doc__, host="series")
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(SERIES))
    parser.add_argument("--years", type=int, nargs="+", default=list(YEARS), help="default: 2014 to 2018")
    parser.add_argument("--members", type=int, default=1, help="of each network's ensemble; default: %(default)s")
    args = parser.parse_args()
    command.check(parser, args.series, list(SERIES))
    command.on_cpu()
    rows: list[Mapping[str, Any]] = []
    code = code_md5(["stages.training.loop", "stages.tasks.forecast.model.network"])
    for series in args.series or SERIES:
        years = []
        for year in args.years:
            facts = {"code": code, "series": series, "year": year, "members": args.members}
            make = partial(measure, args.data, args.work, series, year, args.members)
            values = data.kept(args.work / "refit" / "figures", facts, make)
            years.append(values)
            rows.append({"series": series, "year": str(year), **values})
            print(command.table(rows[-1:]), flush=True)
        mean = {key: float(np.mean([values[key] for values in years])) for key in years[0] if key != "saved"}
        saved = 1 - mean["MAE, refit"] / mean["MAE, held back"]
        rows.append({"series": series, "year": "mean", **mean, "saved": saved})
    print(command.table(rows))
    command.write(args.json, {"machine": command.machine(), "members": args.members, "rows": rows})


if __name__ == "__main__":
    main()

"""What it is worth to start a monthly training from last month's weights: Chicago's rail, month by month.

    python -m benchmarks.start_from                     the twelve months of 2018
    python -m benchmarks.start_from --months 2018-01 2018-02

At the end of each month the recipe (`recipes/cta.yaml`, one member, one thread) is trained on what has come by then,
and its served network forecasts each day of the month that follows, seven days ahead. `fresh` starts with new weights
each time; `start_from` starts with those of its own measured network of the month before, as `train.start_from:
models:/forecaster@champion` has it, the first time with those of a fresh one; `short` does so for a third of the
epochs. Seconds are processor time of both trainings. What little data gains from weights that other classes have taught
is measured by `python -m benchmarks.sketch_quality little`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import save

from stages.provenance.hashes import code_md5

from . import command, data
from .refit import HELD_BACK, errors, prepared, trained

SERIES = "rail"
MONTHS = [f"2018-{month:02}" for month in range(1, 13)]
SHORT = 3  # how many times fewer epochs
WAYS = ("fresh", "start_from", "short")


def train_before(
    source: Path, work: Path, month: pd.Period, way: str, start: bytes | None, weights: Path
) -> dict[str, Any]:
    """Errors over a month of a network that was trained the day before it; `weights` becomes the measured network's."""
    before = f"{(month - 1).end_time:%Y-%m-%d}"
    folder, params = prepared(source, work, SERIES, before, HELD_BACK, 1)
    later, _ = prepared(source, work, SERIES, f"{month.end_time:%Y-%m-%d}", month.days_in_month, 1)
    if way == "short":
        params = data.overlaid(params, {"train": {"epochs": max(1, params.train.epochs // SHORT)}})
    started = time.process_time()
    measured, served = trained(folder, params, start)
    seconds = time.process_time() - started
    weights.write_bytes(save(measured.state_dict()))
    return {**errors(served, later, params), "seconds": seconds}


def main() -> None:
    """The command line."""
    parser = command.parser("start_from", __doc__, host="series")
    parser.add_argument("--months", nargs="+", default=MONTHS, metavar="MONTH", help="in a row; default: those of 2018")
    args = parser.parse_args()
    command.on_cpu()
    months = [pd.Period(month, "M") for month in args.months]
    code = code_md5(["stages.training.loop", "stages.tasks.forecast.model.network"])
    home = args.work / "start_from"
    home.mkdir(parents=True, exist_ok=True)

    def trained_by(way: str, month: pd.Period, start: bytes | None) -> tuple[dict[str, Any], bytes]:
        facts = {"code": code, "first": args.months[0], "month": str(month), "way": way}
        weights = home / f"{data.digest(facts)}.safetensors"
        make = partial(train_before, args.data, args.work, month, way, start, weights)
        return data.kept(home, facts, make), weights.read_bytes()

    _, first = trained_by("fresh", months[0] - 1, None)
    rows: list[Mapping[str, Any]] = []
    for way in WAYS:
        start, of_months = first, []
        for month in months:
            values, start = trained_by(way, month, None if way == "fresh" else start)
            of_months.append(values)
            rows.append({"way": way, "month": str(month), **values})
            print(command.table(rows[-1:]), flush=True)
        mean = {key: float(np.mean([values[key] for values in of_months])) for key in of_months[0]}
        rows.append({"way": way, "month": "mean", **mean})
    print(command.table(rows))
    command.write(args.json, {"machine": command.machine(), "rows": rows})


if __name__ == "__main__":
    main()

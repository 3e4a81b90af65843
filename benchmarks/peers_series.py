"""Our forecaster beside Nixtla's, for `peers.py`: M4's daily series whose 14 test days follow their training days.

Each side learns from all days before the test and forecasts seven days from each test day that has seven left. Peers
learn for as many steps, or with as many trees, as each rung of a ladder says; ours by the settings of
`forecast_rolling`, by three seeds. Seconds are the processor's, of training and answering, imports not included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from stages.tasks.forecast.evaluate.scores import Actuals, mean_error

from . import peer_sides
from .forecast_rolling import SETS, Trial
from .trainee import Trainee

LADDERS: Mapping[str, tuple[str, Sequence[int]]] = {  # peer → environment, rungs
    "LSTM": ("neuralforecast", (50, 200, 800)),
    "NHITS": ("neuralforecast", (50, 200, 800)),
    "LightGBM": ("mlforecast", (30, 100, 300)),
}
TEST = SETS["m4"].tests[0]


def compare(run: peer_sides.Run, test: tuple[str, str] = TEST) -> list[peer_sides.Row]:
    """Ours, then a row for each rung of each peer."""
    source = run.source / "series"
    trial = Trial(source=source, work=run.work, name="m4", test=test, overlay={})
    actuals = trial.actuals
    path = _written(trial, run.work / "peers" / f"m4-{test[1]}.csv")
    ladders = {name: rungs[: 1 if run.quick else None] for name, (_, rungs) in LADDERS.items()}
    turns = max(map(len, ladders.values()))
    ours = peer_sides.Side(module="peers_ours", arguments=["series", str(source), *test, str(turns)])
    sides = {
        name: peer_sides.Side(
            module="peer_series",
            arguments=[name, str(path), test[0], json.dumps(ladders[name])],
            environment=environment,
        )
        for name, (environment, _) in LADDERS.items()
    }
    own, others = peer_sides.beside(ours, sides, run.work, turns)
    return rows(trial, actuals, own, others)


def rows(trial: Any, actuals: Actuals, ours: Trainee, others: Mapping[str, Trainee | str]) -> list[peer_sides.Row]:
    """MASE and seconds; `times` is how many times as long a peer's rung took as ours."""
    own = [mase(trial, actuals, answer["mean"]) for answer in ours.answers]
    seconds = median(answer["processor_seconds"] for answer in ours.answers)
    number = len(np.unique(actuals.series))
    what = f"{number} daily series, trained and answered"
    figures: list[peer_sides.Row] = [
        {
            "what": what,
            "by": f"ours, {len(own)} seeds ({ours.ready['version']})",
            "MASE": float(np.mean(own)),
            "processor seconds": seconds,
        }
    ]
    for name, other in others.items():
        if isinstance(other, str):
            figures.append({"what": what, "by": name, "MASE": f"not run: {other}"})
            continue
        for answer in other.answers:
            spent = answer["processor_seconds"]
            figures.append(
                {
                    "what": what,
                    "by": f"{name}, {answer['steps']} {'trees' if name == 'LightGBM' else 'steps'}"
                    f" ({other.ready['version']})",
                    "MASE": mase(trial, actuals, answer["mean"]),
                    "processor seconds": spent,
                    "times ours": spent / seconds,
                }
            )
    return figures


def mase(trial: Any, actuals: Actuals, mean: Mapping[str, Sequence[Sequence[float]]]) -> float:
    """The mean absolute scaled error of forecasts by series, `(origins, 7)` each."""
    by_row = {row: iter(mean[name]) for row, name in _names(trial, actuals).items()}
    forecast = np.array([next(by_row[row]) for row in actuals.series.tolist()])
    return float(mean_error(actuals.errors(forecast) / actuals.scales[actuals.series][:, None]))


def by_series(trial: Any, actuals: Actuals, mean: np.ndarray) -> dict[str, list[list[float]]]:
    """Forecasts `(windows, 7)` by the name of their series."""
    return {name: mean[actuals.series == row].tolist() for row, name in _names(trial, actuals).items()}


def _names(trial: Any, actuals: Actuals) -> dict[int, str]:
    """The names of the series by their rows in the store."""
    from stages.data.prepared import open_prepared

    store, _ = open_prepared(trial.later)
    return {row: str(store.value("id", row)) for row in np.unique(actuals.series).tolist()}


def _written(trial: Trial, path: Path) -> Path:
    """All days up to the last test day, in Nixtla's long format."""
    if not path.is_file():
        table = SETS["m4"].read(trial.source, trial.work)
        path.parent.mkdir(parents=True, exist_ok=True)
        table[table["ds"] <= trial.test[1]].to_csv(path, index=False, date_format="%Y-%m-%d")
    return path

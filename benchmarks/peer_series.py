"""Nixtla's sides of `peers.py`, run by the Python of an environment of their own in turns, see `turns.py`.

ENVIRONMENT/bin/python -m benchmarks.peer_series MODEL SERIES.csv FIRST_TEST_DAY LADDER

MODEL is LSTM or NHITS of neuralforecast, or LightGBM of mlforecast. SERIES.csv is in Nixtla's long format, and all
series end on the last test day. Each turn learns from all days before the first test day, for as many steps, or with as
many trees, as the next number of LADDER (JSON) says, and forecasts seven days from each test day that has seven left.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import pandas as pd

from .turns import Turns

HORIZON = 7
# Set by hand, since the defaults scale nothing and M4's series differ by orders of magnitude; nothing else was tried.
INPUT_DAYS = 28
SCALER = "robust"

Fit = Callable[[pd.DataFrame, int, int], pd.DataFrame]  # series, origins, steps → forecasts by series and origin


def neuralforecast(name: str) -> tuple[str, Fit]:
    """Its version, and a training of one of its networks, with its own batches, learning rate and loss."""
    import torch
    from neuralforecast import NeuralForecast, models

    torch.set_num_threads(1)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    settings: dict[str, Any] = {**quiet, "enable_model_summary": False, "accelerator": "cpu", "random_seed": 1}

    def fit(series: pd.DataFrame, origins: int, steps: int) -> pd.DataFrame:
        network = getattr(models, name)(
            h=HORIZON, input_size=INPUT_DAYS, scaler_type=SCALER, max_steps=steps, **settings
        )
        forecaster = NeuralForecast(models=[network], freq="D")
        return forecaster.cross_validation(df=series, n_windows=origins, step_size=1, refit=False)

    return f"neuralforecast {version('neuralforecast')}, torch {version('torch')}", fit


def mlforecast() -> tuple[str, Fit]:
    """Its version, and LightGBM on lags, rolling means and the day of the week of scaled differences, set by hand."""
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    def fit(series: pd.DataFrame, origins: int, trees: int) -> pd.DataFrame:
        forecaster = MLForecast(
            models={"LightGBM": LGBMRegressor(n_estimators=trees, n_jobs=1, random_state=1, verbosity=-1)},
            freq="D",
            lags=[1, 2, 3, 4, 5, 6, 7, 14, 28],
            lag_transforms={1: [RollingMean(7), RollingMean(28)]},
            date_features=["dayofweek"],
            target_transforms=[Differences([1]), LocalStandardScaler()],
            num_threads=1,
        )
        return forecaster.cross_validation(df=series, n_windows=origins, h=HORIZON, step_size=1, refit=False)

    return f"mlforecast {version('mlforecast')}, lightgbm {version('lightgbm')}", fit


MODELS: dict[str, Callable[[], tuple[str, Fit]]] = {
    "LSTM": partial(neuralforecast, "LSTM"),
    "NHITS": partial(neuralforecast, "NHITS"),
    "LightGBM": mlforecast,
}


def main() -> None:
    """The command line."""
    turns = Turns()
    name, path, first, ladder = sys.argv[1:]
    warnings.simplefilter("ignore")
    series = pd.read_csv(path, parse_dates=["ds"])
    origins = len(pd.date_range(first, series["ds"].max())) - HORIZON + 1
    software, fit = MODELS[name]()
    turns.ready({"version": software})
    for steps in json.loads(ladder):
        answers = fit(series, origins, steps).reset_index().sort_values(["unique_id", "cutoff", "ds"])
        by_series = {
            str(key): one[name].to_numpy().reshape(origins, HORIZON).tolist()
            for key, one in answers.groupby("unique_id")
        }
        turns.answer({"steps": steps, "mean": by_series})


if __name__ == "__main__":
    main()

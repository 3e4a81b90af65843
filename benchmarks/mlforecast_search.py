"""LightGBM by mlforecast's own search over lags, transforms, calendar and trees, run by the Python of its own
environment, see `forecast_rolling.py`.

MLFORECAST_ENVIRONMENT/bin/python mlforecast_search.py SERIES.csv FIRST_TEST_DAY VALIDATION_DAYS

SERIES.csv is in Nixtla's long format and ends with the last test day. The trials are judged on the validation days
before the test, and the best learns anew from all days before it. A line of JSON says the forecast of seven days from
each test day, `(series, origins, 7)`, and the processor's seconds of search, last training and forecasts.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
import optuna
import pandas as pd
from mlforecast.auto import AutoLightGBM, AutoMLForecast

HORIZON = 7
TRIALS = 20


def forecasts(series: pd.DataFrame, first: pd.Timestamp, validation_days: int) -> np.ndarray:
    """The mean of the seven days from each day from `first` on that has seven days left, `(series, origins, 7)`."""
    known = series[series["ds"] < first]
    search = AutoMLForecast({"lightgbm": AutoLightGBM()}, freq="D", season_length=7, num_threads=1)
    search.fit(
        known,
        n_windows=max(1, validation_days // HORIZON),
        h=HORIZON,
        num_samples=TRIALS,
        refit=False,  # within a trial; the best learns from all days
        optimize_kwargs={"n_jobs": 1},
        study_kwargs={"sampler": optuna.samplers.TPESampler(seed=1)},
    )
    best = search.models_["lightgbm"]
    origins = pd.date_range(first, series["ds"].max() - pd.Timedelta(days=HORIZON - 1))
    answers = [best.predict(HORIZON, new_df=series[series["ds"] < origin])["lightgbm"] for origin in origins]
    return np.stack([answer.to_numpy().reshape(-1, HORIZON) for answer in answers], axis=1)


def main() -> None:
    """The command line."""
    path, first, validation_days = sys.argv[1:]
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    series = pd.read_csv(path, parse_dates=["ds"]).drop_duplicates(["unique_id", "ds"])
    # Each day once, in order, as mlforecast asks for; a day without a value repeats the one before.
    daily = [one.set_index("ds").asfreq("D").ffill().reset_index() for _, one in series.groupby("unique_id")]
    started = time.process_time()
    answer = forecasts(pd.concat(daily, ignore_index=True), pd.Timestamp(first), int(validation_days))
    print(json.dumps({"mean": answer.tolist(), "seconds": time.process_time() - started}))


if __name__ == "__main__":
    main()

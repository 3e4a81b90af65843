"""How fast a loaded model answers. Such numbers go to MLflow alone: no output of DVC's may hold a time."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

_SECONDS = 0.7  # for each of the two measurements
_MOST_CALLS, _FEWEST_CALLS = 200, 3
_MOST_COPIES = 512


def measure(predict: Callable[[pd.DataFrame], pd.DataFrame], rows: pd.DataFrame) -> dict[str, float]:
    """Time `predict` on the task's example, alone and many times at once, in some two seconds.

    `latency_p50_ms` and `latency_p95_ms`: milliseconds that an answer to the example takes, at the median and the 95th
    percentile. `rows_per_s`: rows of answers a second, where many copies of it are asked at once. The first call is not
    counted: libraries prepare themselves in it.
    """
    predict(rows)
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < _FEWEST_CALLS or (len(seconds) < _MOST_CALLS and time.perf_counter() - started < _SECONDS):
        seconds.append(_timed(predict, rows)[0])
    median, high = np.quantile(seconds, [0.5, 0.95])
    # One after the other, so many copies would take all the time there is; together they take less.
    together, answered = _timed(predict, _copies(rows, int(np.clip(_SECONDS / median, 1, _MOST_COPIES))))
    return {
        "latency_p50_ms": 1000 * float(median),
        "latency_p95_ms": 1000 * float(high),
        "rows_per_s": answered / together,
    }


def _timed(predict: Callable[[pd.DataFrame], pd.DataFrame], rows: pd.DataFrame) -> tuple[float, int]:
    started = time.perf_counter()
    answers = predict(rows)
    return time.perf_counter() - started, len(answers)


def _copies(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """The rows `count` times; in Nixtla's long format, each time as another series."""
    copies = pd.concat([rows] * count, ignore_index=True)
    if "unique_id" in copies:
        names = copies["unique_id"].astype(str)
        copies["unique_id"] = names + "/" + pd.Series(np.repeat(np.arange(count), len(rows))).astype(str)
    return copies

"""What a forecaster must beat without learning: the last value, the last week, statistics fitted at every origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np

from ..data.series import HORIZON, SEASON

_PER_CALL = 8  # series a process is given at a time
STATISTICS = {"autoets": "AutoETS", "autotheta": "AutoTheta"}  # baseline → its class in statsforecast.models


def naive(history: np.ndarray) -> np.ndarray:
    """The last value of `(time,)`, seven times."""
    return np.full(HORIZON, history[-1])


def seasonal_naive(history: np.ndarray) -> np.ndarray:
    """The last seven values of `(time,)`."""
    return history[-SEASON:].copy()


def statistics(name: str, histories: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Forecasts by a model of STATISTICS with a season of a week, fitted to each history: `(histories, 7)`, and how
    many fits failed.

    In place of a failed one stands the seasonal naive forecast, as statsforecast's own fallback would have it.
    """
    from statsforecast import models  # seconds to import: only where it is used

    kind = getattr(models, STATISTICS[name])
    forecasts = np.empty((len(histories), HORIZON))
    failed = 0
    for row, history in enumerate(histories):
        try:
            forecasts[row] = kind(season_length=SEASON).forecast(y=np.array(history), h=HORIZON)["mean"]
        except (ValueError, ArithmeticError, RuntimeError):
            forecasts[row] = np.nan
        if not np.isfinite(forecasts[row]).all():
            forecasts[row] = seasonal_naive(history)
            failed += 1
    return forecasts, failed


@contextmanager
def statistics_in_background(
    names: Sequence[str], histories: Sequence[np.ndarray], *, processes: int
) -> Iterator[Callable[[str], tuple[np.ndarray, int]]]:
    """Run `statistics` for each of `names` in other processes while the block runs; yields a function that waits for
    the result of a name.

    Processes are spawned, not forked: a fork would copy torch's threads half way.
    """
    parts = [histories[i : i + _PER_CALL] for i in range(0, len(histories), _PER_CALL)]
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        futures = {name: [pool.submit(statistics, name, part) for part in parts] for name in names}

        def result(name: str) -> tuple[np.ndarray, int]:
            forecasts, failed = zip(*(future.result() for future in futures[name]), strict=True)
            return np.concatenate(forecasts), sum(failed)

        yield result
    finally:
        pool.shutdown(cancel_futures=True)

"""What a forecaster must beat: the last value, the last week, exponential smoothing fitted anew at every origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np

from ..prepare.series import HORIZON, SEASON

_PER_CALL = 8  # series a process is given at a time


def naive(past: np.ndarray) -> np.ndarray:
    """The last value of `(time,)`, seven times."""
    return np.full(HORIZON, past[-1])


def seasonal_naive(past: np.ndarray) -> np.ndarray:
    """The last seven values of `(time,)`."""
    return past[-SEASON:].copy()


def autoets(pasts: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """AutoETS (statsforecast) fitted to each of `pasts`: `(pasts, 7)`, and how many fits failed.

    A failed fit is answered by the seasonal naive forecast, as statsforecast's own fallback would.
    """
    from statsforecast.models import AutoETS  # seconds to import: only where it is used

    forecasts = np.empty((len(pasts), HORIZON))
    failed = 0
    for row, past in enumerate(pasts):
        try:
            forecasts[row] = AutoETS(season_length=SEASON).forecast(y=np.array(past), h=HORIZON)["mean"]
        except (ValueError, ArithmeticError, RuntimeError):
            forecasts[row] = np.nan
        if not np.isfinite(forecasts[row]).all():
            forecasts[row] = seasonal_naive(past)
            failed += 1
    return forecasts, failed


@contextmanager
def autoets_beside(pasts: Sequence[np.ndarray], *, processes: int) -> Iterator[Callable[[], tuple[np.ndarray, int]]]:
    """Run `autoets` in other processes while the block runs; yields a function that waits for the result.

    Processes are spawned, not forked: a fork would copy torch's threads half way.
    """
    parts = [pasts[i : i + _PER_CALL] for i in range(0, len(pasts), _PER_CALL)]
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        futures: list[Future[tuple[np.ndarray, int]]] = [pool.submit(autoets, part) for part in parts]

        def result() -> tuple[np.ndarray, int]:
            done = [future.result() for future in futures]
            return np.concatenate([forecasts for forecasts, _ in done]), sum(failed for _, failed in done)

        yield result
    finally:
        pool.shutdown(cancel_futures=True)

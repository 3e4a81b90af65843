"""What a forecaster must beat without learning: the last value, the last week, statistics fitted at every origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np

from ..data.series import HORIZON, SEASON

_PER_CALL = 8  # series a process is given at a time
STATISTICS = {"autoets": "AutoETS", "autotheta": "AutoTheta"}  # baseline → its class in statsforecast.models

Fitted = Mapping[str, tuple[np.ndarray, int]]


def naive(past: np.ndarray) -> np.ndarray:
    """The last value of `(time,)`, seven times."""
    return np.full(HORIZON, past[-1])


def seasonal_naive(past: np.ndarray) -> np.ndarray:
    """The last seven values of `(time,)`."""
    return past[-SEASON:].copy()


def statistics(name: str, pasts: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """A model of STATISTICS with a season of a week, fitted to each of `pasts`: `(pasts, 7)`, and how many fits failed.

    A failed fit is answered by the seasonal naive forecast, as statsforecast's own fallback would.
    """
    from statsforecast import models  # seconds to import: only where it is used

    kind = getattr(models, STATISTICS[name])
    forecasts = np.empty((len(pasts), HORIZON))
    failed = 0
    for row, past in enumerate(pasts):
        try:
            forecasts[row] = kind(season_length=SEASON).forecast(y=np.array(past), h=HORIZON)["mean"]
        except (ValueError, ArithmeticError, RuntimeError):
            forecasts[row] = np.nan
        if not np.isfinite(forecasts[row]).all():
            forecasts[row] = seasonal_naive(past)
            failed += 1
    return forecasts, failed


@contextmanager
def statistics_beside(
    names: Sequence[str], pasts: Sequence[np.ndarray], *, processes: int
) -> Iterator[Callable[[], Fitted]]:
    """Run `statistics` for each of `names` in other processes while the block runs; yields a function that waits for
    what they give, by name.

    Processes are spawned, not forked: a fork would copy torch's threads half way.
    """
    parts = [pasts[i : i + _PER_CALL] for i in range(0, len(pasts), _PER_CALL)]
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        waiting: dict[str, list[Future[tuple[np.ndarray, int]]]] = {
            name: [pool.submit(statistics, name, part) for part in parts] for name in names
        }

        def results() -> Fitted:
            found = {name: [future.result() for future in futures] for name, futures in waiting.items()}
            return {
                name: (np.concatenate([forecasts for forecasts, _ in done]), sum(failed for _, failed in done))
                for name, done in found.items()
            }

        yield results
    finally:
        pool.shutdown(cancel_futures=True)

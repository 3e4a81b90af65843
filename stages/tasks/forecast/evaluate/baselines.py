"""Baselines that know one series up to its origin: the last value, the last week, statistics fitted at every origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np

from ....data.evenly import evenly
from ....progress_bar import ProgressBar
from ..data.series import HORIZON, SEASON

_PER_CALL = 8  # series a process is given at a time
STATISTICS = {"autoets": "AutoETS", "autotheta": "AutoTheta"}  # baseline → its class in statsforecast.models
_CORES = 2  # of the machine that `evaluate.baseline_minutes` are told for


def naive(history: np.ndarray) -> np.ndarray:
    """The last value of `(time,)`, seven times."""
    return np.full(HORIZON, history[-1])


def seasonal_naive(history: np.ndarray) -> np.ndarray:
    """The last seven values of `(time,)`."""
    return history[-SEASON:].copy()


def fit_seconds(name: str, days: int) -> float:
    """About how long one core takes to fit a model of STATISTICS to so many days (statsforecast 2 on a server of 2026;
    AutoTheta's optimizer may take three times as long).
    """
    return 0.5 * (days / 1000) ** (2 if name == "autotheta" else 1)


def chosen_fits(names: Sequence[str], days: Sequence[int], minutes: float) -> np.ndarray:
    """Numbers of the histories, of so many days each, that models are fitted to: evenly over them, as many as take two
    cores about so many minutes by `fit_seconds`; all where `minutes` is 0. No clock is asked, so that all machines
    fit, and measure, the same.
    """
    seconds = sum(fit_seconds(name, count) for name in names for count in days)
    share = minutes * 60 * _CORES / seconds if minutes and seconds else 1.0
    return evenly(len(days), max(1, int(len(days) * share)))


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
            sizes = [len(part) for part in parts]
            done = sum(size for size, future in zip(sizes, futures[name], strict=True) if future.done())
            forecasts, failures = [], 0
            with ProgressBar(STATISTICS[name], unit="fits", total=len(histories), done=done) as bar:
                for size, future in zip(sizes, futures[name], strict=True):
                    was_done = future.done()
                    forecast, failed = future.result()
                    forecasts.append(forecast)
                    failures += failed
                    bar.update(0 if was_done else size)
            return np.concatenate(forecasts), failures

        yield result
    finally:
        pool.shutdown(cancel_futures=True)

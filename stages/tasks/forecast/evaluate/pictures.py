"""What a person should see of a forecaster: forecasts against what came, the error by days ahead and weekday."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from ..data.series import HORIZON
from ..model.windows import Windows
from .scores import mean_error

FANS = 6
HISTORY = 28  # days drawn before an origin
COLOURS = {
    "network": "#c4421a",
    "autoets": "#2b6cb0",
    "autotheta": "#7fb0dd",
    "ridge": "#3f8f5b",
    "seasonal_naive": "#6b7280",
    "naive": "#b8bcc4",
}
_IN_FANS = ("autoets", "ridge", "seasonal_naive")  # more lines than these nobody can tell apart
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Drawn:
    """Forecasts from all origins: `mean` and each baseline `(origins, 7)`, `quantiles` `(origins, 7, levels)`; and the
    names of holidays by their ISO days.
    """

    windows: Windows
    mean: np.ndarray
    quantiles: np.ndarray
    levels: Sequence[float]
    baselines: Mapping[str, np.ndarray]
    holidays: Mapping[str, str]


def fans(drawn: Drawn, chosen: np.ndarray, title: str) -> Figure:
    """Forecasts from some origins: bands of 90 % (and 50 %), mean, baselines and truth."""
    windows, levels = drawn.windows, drawn.levels
    figure = Figure(figsize=(11, 2.6 * -(-len(chosen) // 2) + 0.3), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(-(-len(chosen) // 2), 2, squeeze=False).flat
    for example, axes in zip(chosen, grid, strict=False):
        row, _ = windows.locate(example)
        past = windows.past(example)
        history = past.values[-HISTORY:]
        before = _dates(past.next_day - len(history), len(history))
        after = _dates(past.next_day, HORIZON)
        for low, high, shade in ((0.05, 0.95, 0.15), (0.25, 0.75, 0.3)):
            if low in levels and high in levels:
                band = drawn.quantiles[example][:, [levels.index(low), levels.index(high)]]
                label = f"{high - low:.0%} band"
                axes.fill_between(
                    after, band[:, 0], band[:, 1], color=COLOURS["network"], alpha=shade, lw=0, label=label
                )
        axes.plot(before, history, color="black", lw=1)
        axes.plot(after, windows.future(example)[0], color="black", lw=1, marker="o", ms=3, label="truth")
        axes.plot(after, drawn.mean[example], color=COLOURS["network"], lw=1.8, label="mean")
        for name, forecast in drawn.baselines.items():
            if name in _IN_FANS:
                axes.plot(after, forecast[example], color=COLOURS[name], lw=1, ls="--", label=_words(name))
        axes.axvline(before[-1], color="0.8", lw=0.8)
        holidays = [day for day in after if str(day) in drawn.holidays]
        for day in holidays:
            axes.axvline(day, color="#b7791f", lw=0.8, ls=":")
        locator = AutoDateLocator(maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        names = "".join(f", {drawn.holidays[str(day)]}" for day in holidays)
        axes.set_title(f"{windows.store.value('id', row)}, from {after[0]}{names}", fontsize=9)
        axes.margins(x=0.01)
    for axes in list(grid):
        axes.set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9, frameon=False)
    return figure


def error_by_day(errors: Mapping[str, np.ndarray], weekdays: np.ndarray) -> Figure:
    """The mean absolute error by days ahead and by weekday, of each forecaster's errors `(origins, 7)`, NaN where
    nothing was observed; `weekdays` is `(origins, 7)`, Monday is 0.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    ahead, week = figure.subplots(1, 2, sharey=True)
    days = np.arange(HORIZON)
    for name, values in errors.items():
        style = {"color": COLOURS[name], "lw": 2.4 if name == "network" else 1.4, "marker": "o", "ms": 4}
        ahead.plot(days, mean_error(values, axis=0), label=f"{_words(name)}: {mean_error(values):.4g}", **style)
        by_weekday = [mean_error(np.where(weekdays == day, values, np.nan)) for day in range(7)]
        week.plot(np.arange(7), by_weekday, **style)
    ahead.set_xticks(days, [str(day + 1) for day in days])
    ahead.set_xlabel("days ahead")
    ahead.set_ylabel("mean absolute error")
    ahead.set_ylim(bottom=0)
    week.set_xticks(np.arange(7), _WEEKDAYS)
    week.set_xlabel("weekday that is forecast")
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def _dates(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count).astype("datetime64[D]")


def _words(name: str) -> str:
    return {"autoets": "AutoETS", "autotheta": "AutoTheta"}.get(name, name.replace("_", " "))

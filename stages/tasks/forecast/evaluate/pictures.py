"""What a person should see of a forecaster: forecasts against what came, the error by days ahead and weekday."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from ..data.series import HORIZON
from ..model.windows import Windows
from .scores import Forecasts, mean_error

CHARTS = 6
HISTORY = 28  # days drawn before an origin
COLOURS = {
    "network": "#c4421a",
    "autoets": "#2b6cb0",
    "autotheta": "#7fb0dd",
    "ridge": "#3f8f5b",
    "lightgbm": "#7a4fb5",
    "seasonal_naive": "#6b7280",
    "naive": "#b8bcc4",
}
_IN_CHARTS = ("lightgbm", "autoets", "seasonal_naive")  # more lines than these nobody can tell apart
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def fan_charts(
    windows: Windows, forecasts: Forecasts, holidays: Mapping[str, str], examples: np.ndarray, title: str
) -> Figure:
    """Forecasts from some origins: bands of 90 % (and 50 %), mean, baselines and truth. `holidays` are names by their
    ISO days.
    """
    rows = -(-len(examples) // 2)
    figure = Figure(figsize=(11, 2.6 * rows + 0.3), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(rows, 2, squeeze=False).flat
    for example, axes in zip(examples, grid, strict=False):
        history = windows.history(example)
        past = history.values[-HISTORY:]
        before = _dates(history.next_day - len(past), len(past))
        after = _dates(history.next_day, HORIZON)
        for low, high, shade in ((0.05, 0.95, 0.15), (0.25, 0.75, 0.3)):
            if low in forecasts.levels and high in forecasts.levels:
                ends = (forecasts.quantiles[example, :, forecasts.levels.index(level)] for level in (low, high))
                label = f"{high - low:.0%} band"
                axes.fill_between(after, *ends, color=COLOURS["network"], alpha=shade, lw=0, label=label)
        axes.plot(before, past, color="black", lw=1)
        axes.plot(after, windows.future(example)[0], color="black", lw=1, marker="o", ms=3, label="truth")
        axes.plot(after, forecasts.mean[example], color=COLOURS["network"], lw=1.8, label="mean")
        for name, forecast in forecasts.baselines.items():
            if name in _IN_CHARTS:
                axes.plot(after, forecast[example], color=COLOURS[name], lw=1, ls="--", label=_label(name))
        axes.axvline(before[-1], color="0.8", lw=0.8)
        names = ""
        for day in after:
            if str(day) in holidays:
                names += f", {holidays[str(day)]}"
                axes.axvline(day, color="#b7791f", lw=0.8, ls=":")
        locator = AutoDateLocator(maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        series, _ = windows.locate(example)
        axes.set_title(f"{windows.store.value('id', series)}, from {after[0]}{names}", fontsize=9)
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
        ahead.plot(days, mean_error(values, axis=0), label=f"{_label(name)}: {mean_error(values):.4g}", **style)
        by_weekday = [mean_error(np.where(weekdays == day, values, np.nan)) for day in range(7)]
        week.plot(np.arange(7), by_weekday, **style)
    ahead.set_xticks(days, [str(day + 1) for day in days])
    ahead.set_xlabel("days ahead")
    ahead.set_ylabel("mean absolute error")
    ahead.set_ylim(bottom=0)
    week.set_xticks(np.arange(7), _WEEKDAYS)
    week.set_xlabel("forecast weekday")
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def _dates(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count).astype("datetime64[D]")


def _label(name: str) -> str:
    return {"autoets": "AutoETS", "autotheta": "AutoTheta"}.get(name, name.replace("_", " "))

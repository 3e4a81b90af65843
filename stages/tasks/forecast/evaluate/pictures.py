"""What a person should see of a forecaster: forecasts against what came, and the error by days ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from ..model.windows import Windows
from ..prepare.series import HORIZON

FANS = 6
HISTORY = 28  # days drawn before an origin
COLOURS = {"network": "#c4421a", "autoets": "#2b6cb0", "seasonal_naive": "#6b7280", "naive": "#b8bcc4"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Forecasts from all origins: `mean` and each baseline `(origins, 7)`, `quantiles` `(origins, 7, levels)`."""

    windows: Windows
    mean: np.ndarray
    quantiles: np.ndarray
    levels: Sequence[float]
    baselines: Mapping[str, np.ndarray]


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
            if name != "naive":
                axes.plot(after, forecast[example], color=COLOURS[name], lw=1, ls="--", label=_words(name))
        axes.axvline(before[-1], color="0.8", lw=0.8)
        locator = AutoDateLocator(maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_title(f"{windows.store.value('id', row)}, from {after[0]}", fontsize=9)
        axes.margins(x=0.01)
    for axes in list(grid):
        axes.set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9, frameon=False)
    return figure


def error_by_day(errors: Mapping[str, np.ndarray]) -> Figure:
    """The mean absolute error of each of the seven days ahead, `(7,)` for each forecaster."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    days = np.arange(1, HORIZON + 1)
    for name, values in errors.items():
        width = 2.4 if name == "network" else 1.4
        label = f"{_words(name)}: {values.mean():.4g}"
        axes.plot(days, values, color=COLOURS[name], lw=width, marker="o", ms=4, label=label)
    axes.set_xlabel("days ahead")
    axes.set_ylabel("mean absolute error")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def _dates(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count).astype("datetime64[D]")


def _words(name: str) -> str:
    return {"autoets": "AutoETS"}.get(name, name.replace("_", " "))

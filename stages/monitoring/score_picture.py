"""The errors of the last 90 days against the model's own band, with alarms marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DAYS = 90
_PANELS = 4
_BLUE, _RED = "#2b6cb0", "#c53030"


def score_picture(table: pd.DataFrame) -> Figure:
    """A panel for each of up to four series, `scoring.Scored.table`: those whose alarms are the newest first."""
    recent = table[table["ds"] > table["ds"].max() - pd.Timedelta(days=DAYS)]
    raised = recent[recent["alarms"] != ""].groupby("unique_id")["ds"].max().sort_values(ascending=False, kind="stable")
    names = list(dict.fromkeys([*raised.index, *sorted(recent["unique_id"].unique())]))
    shown = names[:_PANELS]
    figure = Figure(figsize=(9, 0.6 + 2.3 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(grid, shown, strict=True):
        _panel(axes, recent[recent["unique_id"] == name], name)
    more = f"; {len(names) - len(shown):,} more series are not shown" if len(names) > len(shown) else ""
    figure.suptitle(f"Observed value minus forecast median, {DAYS} days{more}", fontsize=10)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    days = rows["ds"].to_numpy()
    error = (rows["y"] - rows["q50"]).to_numpy()
    axes.fill_between(
        days, rows["q05"] - rows["q50"], rows["q95"] - rows["q50"], color=_BLUE, alpha=0.18, lw=0, label="90 % band"
    )
    axes.axhline(0, color="0.75", lw=0.8, zorder=0)
    inside = rows["inside"].to_numpy() > 0
    axes.plot(days, error, color="0.6", lw=0.7, zorder=1)
    axes.plot(days[inside], error[inside], "o", ms=3, color=_BLUE)
    axes.plot(days[~inside], error[~inside], "o", ms=3.6, color=_RED, label="outside")
    top = axes.get_ylim()[1]
    raised = (rows["alarms"] != "").to_numpy()
    for day, charts in zip(days[raised], rows["alarms"].to_numpy()[raised], strict=True):
        axes.axvline(day, color=_RED, lw=1.2, ls="--")
        axes.text(day, top, f" {charts}", color=_RED, fontsize=8, va="top")
    # A dollar would start a formula.
    axes.set_title(name.replace("$", r"\$"), fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.legend(fontsize=7, loc="lower left", ncols=2, frameon=False)

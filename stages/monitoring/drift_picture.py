"""A picture of each feature, before and now."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .comparison import Change
from .drift import Drift, Feature

_BEFORE, _NOW = "0.65", {"none": "#2b6cb0", "warning": "#dd6b20", "drift": "#c53030"}
_MOST_CELLS = 24  # that have room in a picture: of more, those that have changed most


def save_pictures(drift: Drift, folder: Path) -> list[Path]:
    """A PNG of each feature, named after it, in an existing folder; returns their paths in the features' order."""
    paths = []
    for number, feature in enumerate(drift.features, start=1):
        path = folder / f"{number:02d}-{re.sub('[^A-Za-z0-9]+', '-', feature.name).strip('-')[:60]}.png"
        feature_figure(feature).savefig(path, dpi=100, metadata={"Software": None})
        paths.append(path)
    return paths


def feature_figure(feature: Feature) -> Figure:
    """Shares of each cell, before and now, or what a series did in the weeks that were learned, and does now."""
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    axes = figure.subplots()
    change, color = feature.change, _NOW[feature.verdict]
    if change.newest is not None:
        weeks = np.arange(len(change.history)) - len(change.history)
        axes.plot(weeks, change.history, color=_BEFORE, lw=1.2, label="learned")
        axes.axhline(change.newest, color=color, lw=1.8, label="newest four weeks")
        axes.set_xlabel("weeks before the end of what was learned")
        axes.set_ylabel("level" if feature.name.endswith("level") else "cube root of the variance, 1 is usual")
    else:
        names, shares = _shown(change)
        places = np.arange(len(names))
        axes.bar(places - 0.2, shares[:, 0], 0.4, color=_BEFORE, label="learned")
        axes.bar(places + 0.2, shares[:, 1], 0.4, color=color, label="now")
        axes.set_xticks(places, names, rotation=60, ha="right", fontsize=7)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    title = f"{feature.name}: {feature.verdict} (distance {feature.effect:.2f}, p {feature.adjusted:.2g})"
    axes.set_title(_plain(title), fontsize=10, loc="left")
    return figure


def _shown(change: Change) -> tuple[list[str], np.ndarray]:
    shares = np.array(change.shares)
    kept = np.sort(np.argsort(-np.abs(shares[:, 1] - shares[:, 0]), kind="stable")[:_MOST_CELLS])
    return [_plain(change.cells[place][:24]) for place in kept], shares[kept]


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar would start a formula

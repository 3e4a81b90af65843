"""Whether a model is right as often as it says.

The expected calibration error is that of Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks",
2017, https://arxiv.org/abs/1706.04599, with 15 bins of equal width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .report import Calibration

BINS = 15


def reliability_bins(confidence: np.ndarray, right: np.ndarray) -> list[Calibration]:
    """The mean confidence and the share of right answers in each bin that holds any; both arrays `(examples,)`.

    Bin m of M = 15 holds confidences of more than (m - 1) / M, up to m / M.
    """
    indices = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    rows = []
    for index in np.unique(indices):
        inside = indices == index
        expected, observed = float(confidence[inside].mean()), float(right[inside].mean())
        rows.append(Calibration(expected=expected, observed=observed, n=int(inside.sum())))
    return rows


def expected_calibration_error(rows: Sequence[Calibration]) -> float:
    """The mean distance between confidence and share of right answers over all examples, 0 to 1."""
    total = sum(row.n for row in rows)
    return sum(row.n * abs(row.observed - row.expected) for row in rows) / total


def calibration_figure(rows: Sequence[Calibration], *, expected: str, observed: str, title: str) -> Figure:
    """Expected against observed; points on the diagonal are as they should be, larger ones stand on more examples."""
    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", lw=1, ls="--", zorder=0)
    x, y = [row.expected for row in rows], [row.observed for row in rows]
    most = max(row.n for row in rows)
    axes.plot(x, y, color="#2b6cb0", lw=1, alpha=0.5)
    axes.scatter(x, y, s=[18 + 130 * row.n / most for row in rows], color="#2b6cb0", alpha=0.85, lw=0)
    for row in rows if len({row.n for row in rows}) > 1 else []:
        axes.annotate(
            f"{row.n:,}", (row.expected, row.observed), (0, -13), textcoords="offset points", fontsize=7, ha="center"
        )
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.06, 1.03), xlabel=expected, ylabel=observed)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.set_aspect("equal")
    axes.set_title(title, fontsize=10)
    return figure

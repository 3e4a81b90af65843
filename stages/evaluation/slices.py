"""Where a model is weak: its metric on parts of the test split, such as each class, or the shortest quarter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .bootstrap import Scores, interval
from .report import Slice

_MAX_SLICES = 40  # of one kind: of thousands of series, the worst and the best are kept
_RESAMPLES = 1000


def metric_by_slice(
    scores: Scores, kind: str, indices: np.ndarray, names: Sequence[str], *, higher_is_better: bool
) -> list[Slice]:
    """The metric of each slice that has examples, in the order of `names`; `indices`, `(examples,)`, point into these.

    Of more than 40 slices the worst 20 and the best 20 are given, the worst first.
    """
    counts = np.bincount(indices, minlength=len(names))
    columns = [np.bincount(indices, weights=column, minlength=len(names)) for column in scores.statistics.T]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = scores.metric(np.stack(columns, axis=1))
    kept = np.flatnonzero(counts > 0)
    if len(kept) > _MAX_SLICES:
        ranked = kept[np.argsort(values[kept] if higher_is_better else -values[kept], kind="stable")]
        kept = np.concatenate([ranked[: _MAX_SLICES // 2], ranked[-_MAX_SLICES // 2 :]])
    slices = []
    for index in kept.tolist():
        low, high = interval(scores.subset(indices == index), resamples=_RESAMPLES)
        value, n = float(values[index]), int(counts[index])
        slices.append(Slice(slice=kind, value=names[index], n=n, metric=value, low=low, high=high))
    return slices


def quarters(sizes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The quarter that each of `sizes`, `(examples,)` whole numbers, falls into, and the quarters' names, such as
    `8–29`. Equal sizes are in one quarter, so that there may be fewer than four.
    """
    borders = np.unique(np.quantile(sizes, [0.25, 0.5, 0.75], method="lower"))
    indices = np.unique(np.searchsorted(borders, sizes), return_inverse=True)[1]
    parts = [sizes[indices == index] for index in range(indices.max() + 1)]
    return indices, [f"{part.min()}–{part.max()}" if part.min() < part.max() else f"{part.min()}" for part in parts]


def slices_figure(slices: Sequence[Slice], whole: float, metric: str, *, highest: float = np.inf) -> Figure:
    """A point and its interval for each slice, a panel for each kind; the line is the metric of the whole split, and
    `highest` the best or worst there can be.
    """
    kinds = list(dict.fromkeys(part.slice for part in slices))
    panels = [[part for part in slices if part.slice == kind][::-1] for kind in kinds]
    heights = [len(panel) + 1.0 for panel in panels]
    figure = Figure(figsize=(7.5, 0.8 + 0.24 * sum(heights)), layout="constrained")
    grid = figure.subplots(len(kinds), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, kind, panel in zip(grid, kinds, panels, strict=True):
        rows = np.arange(len(panel))
        axes.axvline(whole, color="0.75", lw=1, zorder=0)
        axes.hlines(rows, [part.low for part in panel], [part.high for part in panel], color="#2b6cb0", lw=1.6)
        axes.plot([part.metric for part in panel], rows, "o", color="#2b6cb0", ms=5)
        # A dollar would start a formula.
        names = [f"{part.value}  (n = {part.n:,})".replace("$", r"\$") for part in panel]
        axes.set_yticks(rows, names, fontsize=8)
        axes.set_ylim(-0.7, len(panel) - 0.3)
        axes.set_title(f"by {kind}", fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    grid[-1].set_xlabel(f"{metric}, with 95 % interval; the line marks the whole test split")
    left, right = grid[-1].get_xlim()
    grid[-1].set_xlim(left, min(right, highest + 0.02 * (right - left)))
    return figure

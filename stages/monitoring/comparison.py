"""How far two samples lie apart, and how surely: counts in the same cells, before and now.

How far is the Jensen-Shannon distance of the shares (Lin, "Divergence Measures Based on the Shannon Entropy", 1991), to
base 2: 0 for the same, 1 for nothing in common, for numbers and categories alike. By itself it grows as samples shrink,
so what chance alone gives is taken off (its square times 8 n log 2 is chi-squared there, Grosse et al., "Analysis of
Symbolic Sequences Using the Jensen-Shannon Divergence", 2002). Of two normal distributions half a deviation apart it is
0.21.

How surely is Pearson's chi-squared test of the same counts, where they suffice for it, and else Fisher's exact test.
Items that depend on each other count as fewer (Rao and Scott, 1984: see `preprocessing/profile.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..preprocessing.profile import Categories, Numbers, cell_counts, cell_names, cells, design_effect

_FEWEST = 5.0  # expected in a cell: below, the chi-squared distribution does not hold (Cochran 1954)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One feature, before and now."""

    name: str
    effect: float  # 0 to 1: see above
    p_value: float
    before: str
    now: str
    cells: tuple[str, ...] = ()
    shares: tuple[tuple[float, float], ...] = ()  # of each cell, before and now
    history: tuple[float, ...] = field(default=())  # of a series instead: what was learned, week by week
    newest: float | None = None  # and what goes on from there


def compare(
    name: str, profiled: dict[str, Any], feature: Numbers | Categories, groups: np.ndarray | None
) -> list[Change]:
    """A feature of a profile and of the examples at hand; of classes, whether one has gone as well. Nothing where one
    of the two has no items.
    """
    found = cells(profiled, feature)
    before = cell_counts(profiled)
    now = np.bincount(found, minlength=len(before))
    if not before.sum() or not now.sum():
        return []
    ordered = profiled["kind"] == "number"
    own = max(profiled["design_effect"], design_effect(found, feature.examples, groups))
    effect, p_value = distance(before, now, (profiled["design_effect"], own), ordered=ordered)
    names, shares = cell_names(profiled), np.stack([before / before.sum(), now / now.sum()], axis=1)
    if isinstance(feature, Numbers):
        texts = [
            f"mean {profiled['mean']:.4g}, deviation {profiled['deviation']:.4g}",
            f"mean {feature.values.mean():.4g}, deviation {feature.values.std():.4g}",
        ]
    else:
        most = int(np.abs(shares[:, 1] - shares[:, 0]).argmax())
        texts = [f"{names[most]!r} {percent(share)}" for share in shares[most]]
    change = Change(
        name=name,
        effect=effect,
        p_value=p_value,
        before=texts[0],
        now=texts[1],
        cells=tuple(names),
        shares=tuple((float(one), float(other)) for one, other in shares),
    )
    return [change, *_gone(change, before, now, own)] if profiled.get("per_example") else [change]


def compare_shares(name: str, before: tuple[float, float], now: tuple[float, float], effect: float = 1.0) -> Change:
    """A share as pairs of a part and its whole; `effect` is the design effect of both."""
    others, parts = ([whole - part for part, whole in (before, now)], [part for part, _ in (before, now)])
    one, other = np.array([others, parts]).T
    distant, p_value = distance(one, other, (effect, effect), ordered=False)
    shares = [part / whole for part, whole in (before, now)]
    return Change(
        name=name,
        effect=distant,
        p_value=p_value,
        before=percent(shares[0]),
        now=percent(shares[1]),
        cells=("others", name),
        shares=((1 - shares[0], 1 - shares[1]), (shares[0], shares[1])),
    )


def _gone(classes: Change, before: np.ndarray, now: np.ndarray, design: float) -> list[Change]:
    """Whether a class that was there is not any more. Of many classes one alone moves no distance, but whoever had it
    will miss it: a class that is gone for sure is as far as can be.
    """
    from scipy.stats import hypergeom

    known, sample = int(before.sum()), max(1, int(now.sum() / design))
    absent = np.flatnonzero((before > 0) & (now == 0))
    if not len(absent):
        return []
    chances = hypergeom.pmf(0, known + sample, before[absent], sample) * np.count_nonzero(before)
    surely = int(chances.argmin())
    place = int(absent[surely])
    return [
        Change(
            name=f"{classes.name} gone",
            effect=1.0,
            p_value=min(1.0, float(chances[surely])),
            before=f"{classes.cells[place]!r} {percent(classes.shares[place][0])}",
            now=f"none of {int(now.sum()):,}",
            cells=classes.cells,
            shares=classes.shares,
        )
    ]


def distance(
    before: np.ndarray, now: np.ndarray, designs: tuple[float, float], *, ordered: bool
) -> tuple[float, float]:
    """Effect, 0 to 1, and p-value of counts `(cells,)`; `designs` are the design effects of the two.

    Cells in which too few are expected are put together: with their neighbours where cells are `ordered`.
    """
    from scipy.stats import chi2_contingency, fisher_exact

    table = np.stack([before / designs[0], now / designs[1]])
    merged = _merged(table, ordered=ordered)
    if merged.shape[1] < 2:
        largest = int(table.sum(axis=0).argmax())
        merged = np.stack([table[:, largest], table.sum(axis=1) - table[:, largest]], axis=1)
        if not merged[:, 1].any():
            return 0.0, 1.0
        return _effect(merged), float(fisher_exact(np.rint(merged).astype(np.int64)).pvalue)
    return _effect(merged), float(chi2_contingency(merged, correction=False).pvalue)


def _merged(table: np.ndarray, *, ordered: bool) -> np.ndarray:
    """A table `(2, cells)` in which enough are expected in all cells, or of a single cell."""
    sums = table.sum(axis=1)
    needed = _FEWEST * sums.sum() / sums.min() if sums.min() > 0 else np.inf  # in a column
    columns = table.T if ordered else table.T[np.argsort(-table.sum(axis=0), kind="stable")]
    kept: list[np.ndarray] = []
    open_cell = np.zeros(2)
    for column in columns:
        open_cell = open_cell + column
        if open_cell.sum() >= needed:
            kept.append(open_cell)
            open_cell = np.zeros(2)
    if kept:
        kept[-1] = kept[-1] + open_cell
    return np.stack(kept, axis=1) if kept else table.sum(axis=1, keepdims=True)


def _effect(table: np.ndarray) -> float:
    """The distance of the shares of two samples, `(2, cells)`, less what chance gives."""
    from scipy.spatial.distance import jensenshannon

    sizes = table.sum(axis=1)
    square = float(jensenshannon(table[0] / sizes[0], table[1] / sizes[1], base=2)) ** 2
    chance = (table.shape[1] - 1) * (1 / sizes).sum() / (8 * np.log(2))
    return float(np.sqrt(max(0.0, square - chance)))


def normal_distance(shift: float, ratio: float = 1.0) -> float:
    """The Jensen-Shannon distance of two normal distributions: `shift` deviations apart, one `ratio` times as wide."""
    from scipy.stats import norm

    reach = 10 * max(1.0, ratio)
    grid = np.linspace(min(0.0, shift) - reach, max(0.0, shift) + reach, 8001)
    one, other = norm.pdf(grid), norm.pdf(grid, loc=shift, scale=ratio)
    mean = (one + other) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(part > 0, part * np.log2(part / mean), 0.0).sum() for part in (one, other)]
    return float(np.sqrt(np.clip(sum(parts) * (grid[1] - grid[0]) / 2, 0.0, 1.0)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values that hold for all of them together, however they depend on each other (Holm, "A Simple Sequentially
    Rejective Multiple Test Procedure", 1979).
    """
    order = np.argsort(p_values, kind="stable")
    raised = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(raised)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raised))
    return adjusted


def percent(share: float) -> str:
    """`8.3 %`."""
    return f"{100 * share:.3g} %"

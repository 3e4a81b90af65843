"""What data look like, in numbers small enough to travel with a model: `profiles/TASK.json`.

A profile is of the split that a network learns from. Drift is looked for (`monitoring/drift.py`) by putting other data
into the same cells, so it holds no rows: of a number the cells between its deciles, of categories their counts, of
daily series a line a week. A feature's cells know nothing of the order in which the examples came.

Examples that belong together, as the sentences of one document or the clips of one person do, say less than as many
others. How much less is the feature's `design_effect` (Rao and Scott, "On Chi-squared Tests for Multiway Contingency
Tables with Cell Proportions Estimated from Survey Data", 1984): so many examples count as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.files import write_text
from .weekly import DailySeries, described, short_name

FORMAT = 1
MOST_EXAMPLES = 50_000  # of the split, evenly over it: a share is then known to a quarter of a percent
MOST_CATEGORIES = 200  # of one feature, the most frequent; what is left counts as one more
REST = ""  # its name
_QUANTILES = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Numbers:
    """A number of each example, or several."""

    values: np.ndarray  # (items,) float64, finite
    examples: np.ndarray | None = None  # (items,) int: the example that each belongs to; None: one an example


@dataclass(frozen=True, slots=True)
class Categories:
    """A category of each example, or several, such as the tokens of a sentence."""

    codes: np.ndarray  # (items,) int: places in `names`
    names: Sequence[str]
    examples: np.ndarray | None = None  # as above


class Known(NamedTuple):
    """What a model knows of its data: `description.json`, and the folder that the files lie in which it names."""

    data: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Some examples as a task's features show them."""

    examples: int
    features: Mapping[str, Numbers | Categories] = field(default_factory=dict)
    groups: np.ndarray | None = None  # (examples,) int: which group each belongs to; None: each is its own
    series: Sequence[DailySeries] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)  # rule → how many more could not be read


def profile_of(observed: Observed, counts: Mapping[str, float]) -> dict[str, Any]:
    """The profile of the examples of a training split, and of `counts`, which `Preparation.metrics` gives of all."""
    return {
        "format": FORMAT,
        "examples": observed.examples,
        "features": {name: _feature(feature, observed.groups) for name, feature in sorted(observed.features.items())},
        "series": described(observed.series),
        "prepared": {name: int(count) for name, count in counts.items() if name != "rejected_share"},
    }


def write_profile(path: Path, profile: Mapping[str, Any]) -> None:
    """Write it with a line for each key at the top; the same profile gives the same bytes."""
    lines = (
        f"{json.dumps(key)}: {json.dumps(profile[key], sort_keys=True, ensure_ascii=False, allow_nan=False)}"
        for key in sorted(profile)
    )
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _feature(feature: Numbers | Categories, groups: np.ndarray | None) -> dict[str, Any]:
    made = _number(feature) if isinstance(feature, Numbers) else _category(feature)
    effect = design_effect(cells(made, feature), feature.examples, groups)
    return {**made, "design_effect": round(effect, _DIGITS)}


def _number(feature: Numbers) -> dict[str, Any]:
    """Cells that end with the values of `edges`; before the first and after the last lies what was never seen."""
    values = feature.values
    if not len(values):
        return {"kind": "number", "edges": [], "counts": [0]}
    inner = np.quantile(values, _QUANTILES, method="inverted_cdf")
    lowest = np.nextafter(values.min(), -np.inf)
    edges = np.unique(np.concatenate([[lowest], inner, [values.max()]]))
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    return {
        "kind": "number",
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "mean": round(float(values.mean()), _DIGITS),
        "deviation": round(float(values.std()), _DIGITS),
    }


def _category(feature: Categories) -> dict[str, Any]:
    counts = np.bincount(feature.codes, minlength=len(feature.names))
    kept = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], feature.names[code]))
    kept = kept[:MOST_CATEGORIES]
    named = {short_name(feature.names[code]): int(counts[code]) for code in kept}
    rest = int(counts.sum() - counts[kept].sum())
    return {
        "kind": "category",
        "counts": dict(sorted({**named, REST: rest}.items())),
        "per_example": feature.examples is None,
    }


def cell_names(profiled: Mapping[str, Any]) -> list[str]:
    """The cells of a profile's feature in words, in their order."""
    if profiled["kind"] == "category":
        return [name or "other" for name in profiled["counts"]]
    edges = [f"{edge:.4g}" for edge in profiled["edges"]]
    return [f"under {edges[0]}", *(f"up to {edge}" for edge in edges[1:]), f"over {edges[-1]}"] if edges else ["any"]


def cell_counts(profiled: Mapping[str, Any]) -> np.ndarray:
    """How many items a profile's feature has in each cell, `(cells,)`."""
    counts = profiled["counts"]
    return np.array(list(counts.values()) if isinstance(counts, Mapping) else counts, dtype=np.int64)


def cells(profiled: Mapping[str, Any], feature: Numbers | Categories) -> np.ndarray:
    """The cell of a profile's feature that each item falls into, `(items,)` int."""
    if isinstance(feature, Numbers):
        return np.searchsorted(np.array(profiled["edges"], dtype=np.float64), feature.values)
    places = {name: place for place, name in enumerate(profiled["counts"])}
    found = np.array([places.get(short_name(name), places[REST]) for name in feature.names], dtype=np.int64)
    return found[feature.codes] if len(feature.codes) else np.zeros(0, dtype=np.int64)


def design_effect(cells: np.ndarray, examples: np.ndarray | None, groups: np.ndarray | None) -> float:
    """How many items say as much about the shares of the cells as one that depends on no other, 1 or more.

    The mean of each cell's ratio of the variance of its share between clusters (groups, or else examples) to that of
    as many independent items, each weighed by what it adds to the chi-squared statistic.
    """
    if examples is None and groups is None:
        return 1.0
    clusters = np.arange(len(cells)) if examples is None else examples
    if groups is not None:
        clusters = groups[clusters]
    used, sizes = _numbered(clusters)
    kinds, _ = _numbered(cells)
    n, cluster_count, cell_count = len(cells), len(sizes), int(kinds.max(initial=0)) + 1
    if cluster_count < 2 or cell_count < 2:
        return 1.0
    table = np.bincount(used * cell_count + kinds, minlength=cluster_count * cell_count)
    table = table.reshape(cluster_count, cell_count)
    shares = table.sum(axis=0) / n
    deviations = table - sizes[:, None] * shares
    variances = (deviations**2).sum(axis=0) * cluster_count / (cluster_count - 1) / n**2
    return max(1.0, float((variances * n / shares).sum() / (cell_count - 1)))


def _numbered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values as numbers from 0 without gaps, and how often each occurs."""
    _, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
    return numbers, counts

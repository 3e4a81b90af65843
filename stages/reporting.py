"""Where a task's `evaluate` puts what it found: metrics, predictions beside the truth, pictures."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = "pictures"
PREDICTIONS = "predictions.csv"


class Report:
    """The outputs of one evaluate stage: `predictions.csv` and `pictures/*.png` in `folder`, metrics in memory.

    A baseline's metric is named `baseline_NAME_METRIC`: the table and the gate find it by that.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: dict[str, float] = {}
        self.split: str = "test"
        self.n: int = 0
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)

    def measured(self, metrics: Mapping[str, float], *, n: int | None = None) -> None:
        """Add metrics; `n` is the number of test examples they stand on. Raises ValueError for NaN and infinity."""
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name} is {value}; a metric is a finite number")
            self.metrics[name] = round(float(value), 6)
        if n is not None:
            self.n = n

    def predictions(self, pairs: Iterable[tuple[object, object]]) -> None:
        """Write `(actual, predicted)` pairs, which DVC plots with the task's template."""
        with (self.folder / PREDICTIONS).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("actual", "predicted"))
            writer.writerows(pairs)

    def picture(self, name: str, figure: Figure) -> None:
        """Save a figure as `pictures/NAME.png`, without the date or the version of the drawing library."""
        figure.savefig(self.folder / PICTURES / f"{name}.png", dpi=110, metadata={"Software": None})


def baseline_keys(metrics: Mapping[str, object], metric: str) -> list[str]:
    """The keys of a metrics file that hold baselines of `metric`."""
    return sorted(k for k in metrics if k.startswith("baseline_") and k.endswith(f"_{metric}"))


def best_baseline(metrics: Mapping[str, float], metric: str, *, higher_is_better: bool) -> tuple[str, float] | None:
    """Name and value of the baseline that is hardest to beat, or None where none was measured."""
    named = [
        (k.removeprefix("baseline_").removesuffix(f"_{metric}"), metrics[k]) for k in baseline_keys(metrics, metric)
    ]
    if not named:
        return None
    return (max if higher_is_better else min)(named, key=lambda pair: pair[1])

"""Where a task's `evaluate` puts what it found: metrics and how sure they are, predictions beside the truth, slices of
the test split, calibration, pictures.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.csv_rows import row_writer
from ..metrics import higher_is_better
from .meanings import MEANINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..tasks.protocol import Description
    from .bootstrap import Scores

_PICTURES = "pictures"
LOW, HIGH = "_low", "_high"  # the ends of a metric's 95 % interval are named after it
JUDGED_BY = "metric"  # the key of a metrics file that names the metric, where it is not the task's own
_DIGITS = 6  # after the point, of all that is written


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The task's metric on a slice of the test split."""

    slice: str  # what the split is sliced by, such as "class"
    value: str  # which slice, such as "cat"
    n: int  # examples in it
    metric: float
    low: float  # the ends of its 95 % bootstrap interval
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How often something came true that should have come true with a probability of `expected`, 0 to 1."""

    expected: float
    observed: float
    n: int  # examples that it is measured on


class Report:
    """The outputs of one evaluate stage: `predictions.csv`, `slices.csv`, `calibration.csv` and `pictures/*.png` in
    `folder`, metrics in memory. Every task must call each of the `write_…` methods.

    A baseline's metric is named `baseline_NAME_METRIC`: the table and the gate find it by that.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: dict[str, float] = {}
        self.signatures: dict[str, str] = {}  # by metric: how it was computed, as the library says that did it
        self.metric: str = ""  # that the model is judged by, where its params choose it
        self.split: str = "test"
        self.n: int = 0
        self.groups: int = 0  # of alike examples, that the intervals stand on
        self.slices: list[Slice] = []
        self.calibration: list[Calibration] = []
        (folder / _PICTURES).mkdir(parents=True, exist_ok=True)

    def add_metrics(self, metrics: Mapping[str, float], *, n: int | None = None) -> None:
        """Add metrics; `n` is the number of test examples they stand on. Raises ValueError for NaN and infinity."""
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name}: found {value}; allowed: a finite number")
            self.metrics[name] = round(float(value), _DIGITS)
        if n is not None:
            self.n = n

    def add_signatures(self, signatures: Mapping[str, str]) -> None:
        """Add by metric how it was computed, as the library says that did it, such as sacreBLEU's signature."""
        self.signatures.update(signatures)

    def add_scores(self, scores: Mapping[str, Scores]) -> None:
        """Add metrics, each with the ends of its 95 % bootstrap interval as `NAME_low` and `NAME_high`."""
        from .bootstrap import interval

        for name, score in scores.items():
            self.groups = max(self.groups, len(set(score.groups.tolist())))
            low, high = interval(score)
            self.add_metrics({name: score.value(), f"{name}{LOW}": low, f"{name}{HIGH}": high})

    def write_predictions(
        self, actual: Sequence[object], predicted: Sequence[object], /, **columns: Sequence[object]
    ) -> None:
        """Write `predictions.csv`, a line each: `actual` and `predicted`, and by name the columns that tell which
        example it is and what else was predicted. dvc.yaml says which two of them DVC plots.
        """
        columns = {"actual": actual, "predicted": predicted, **columns}
        self._write("predictions.csv", list(columns), zip(*columns.values(), strict=True))

    def write_slices(self, slices: Sequence[Slice], of_other_metrics: Sequence[Slice] = ()) -> None:
        """Write `slices.csv` with the columns `slice, value, n, metric, low, high`: the task's metric on each slice of
        the split, then other metrics, which their `slice` names.
        """
        self.slices = list(slices)
        self._write("slices.csv", Slice.__slots__, map(astuple, [*slices, *of_other_metrics]))

    def write_calibration(self, calibration: Sequence[Calibration]) -> None:
        """Write `calibration.csv` with the columns `expected, observed, n`."""
        self.calibration = list(calibration)
        self._write("calibration.csv", Calibration.__slots__, map(astuple, calibration))

    def save_figure(self, name: str, figure: Figure) -> None:
        """Save a figure as `pictures/NAME.png`, without the date or the version of the drawing library."""
        figure.savefig(self.folder / _PICTURES / f"{name}.png", dpi=110, metadata={"Software": None})

    def _write(self, name: str, columns: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
        with (self.folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = row_writer(file)
            writer.writerow(columns)
            writer.writerows([round(float(v), _DIGITS) if isinstance(v, float) else v for v in row] for row in rows)


def format_number(value: float, *, like: float | None = None) -> str:
    """A number as people read it: 0.9600, 16.22, 39874; the digits after the point suit its size, or that of `like`."""
    size = abs(value if like is None else like)
    digits = 4 if size < 10 else max(0, 3 - int(math.log10(size)))
    return f"{value:.{digits}f}"


def format_interval(value: float, low: float, high: float) -> str:
    """A value and the ends of its interval as people read them: `0.9600 [0.9476, 0.9714]`."""
    return f"{format_number(value)} [{format_number(low, like=value)}, {format_number(high, like=value)}]"


def with_interval(metrics: Mapping[str, float], name: str) -> str:
    """A metric with its interval, or alone where it has none."""
    low, high = metrics.get(f"{name}{LOW}"), metrics.get(f"{name}{HIGH}")
    if low is None or high is None:
        return format_number(metrics[name])
    return format_interval(metrics[name], low, high)


def table_row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def is_bound(metrics: Mapping[str, object], name: str) -> bool:
    """Whether a key of a metrics file is an end of another metric's interval."""
    return any(name.endswith(end) and name.removesuffix(end) in metrics for end in (LOW, HIGH))


def metric_names(metrics: Mapping[str, object], first: str) -> list[str]:
    """The keys of a metrics file that hold metrics of the model itself: `first`, then those of MEANINGS in its order,
    in which one explains the next.
    """
    order = list(MEANINGS)
    numbers = {name for name, value in metrics.items() if isinstance(value, (int, float))}
    names = [name for name in numbers if not name.startswith("baseline_") and not is_bound(metrics, name)]
    places = {name: order.index(name) if name in MEANINGS else len(order) for name in names}
    return sorted(names, key=lambda name: (name != first, places[name], name))


def headline_metric(metrics: Mapping[str, object], description: Description) -> str:
    """The metric that a model is judged by: the one that its metrics file names, else the task's own."""
    return str(metrics.get(JUDGED_BY, description.metric))


def baseline_keys(metrics: Mapping[str, object], metric: str) -> list[str]:
    """The keys of a metrics file that hold baselines of `metric`."""
    return sorted(k for k in metrics if k.startswith("baseline_") and k.endswith(f"_{metric}"))


def ranked_baselines(metrics: Mapping[str, float], metric: str) -> list[tuple[str, float]]:
    """Name and value of each baseline of `metric`, the hardest to beat first; equal ones by their names."""
    named = [
        (k.removeprefix("baseline_").removesuffix(f"_{metric}"), metrics[k]) for k in baseline_keys(metrics, metric)
    ]
    more = bool(named) and higher_is_better(metric)
    return sorted(named, key=lambda pair: -pair[1] if more else pair[1])


def best_baseline(
    metrics: Mapping[str, float], metric: str, among: Collection[str] | None = None
) -> tuple[str, float] | None:
    """Name and value of the baseline that is hardest to beat, of all or of those named `among` them; None where there
    is none.
    """
    ranked = ranked_baselines(metrics, metric)
    return next((pair for pair in ranked if among is None or pair[0] in among), None)


def simpler_is_better(metrics: Mapping[str, float], metric: str) -> str:
    """That a baseline reaches more than the model, and which does best; empty where none does."""
    best, value = best_baseline(metrics, metric), metrics[metric]
    if best is None or not (best[1] > value if higher_is_better(metric) else best[1] < value):
        return ""
    name, reached = best[0].replace("_", " "), format_number(best[1], like=value)
    return f"a simpler model is better here: {name} {reached} against {format_number(value)}"

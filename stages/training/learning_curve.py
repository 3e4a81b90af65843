"""The learning curve: one row an epoch, and one a step, as CSV for DVC plots; an epoch as a line for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.files import write_text

if TYPE_CHECKING:
    from .progress import Epoch, StepRecord


def epoch_row(record: Epoch) -> dict[str, float]:
    """An epoch as a row, without its durations: what may stand in an output."""
    values: dict[str, float] = {"epoch": record.epoch}
    values.update({f"train_{name}": value for name, value in sorted(record.train.items())})
    values.update({f"validation_{name}": value for name, value in sorted(record.validation.items())})
    values["learning_rate"] = record.learning_rate
    values["gradient_norm"] = record.gradient_norm
    values["padding_share"] = record.padding_share
    return _rounded(values)


def step_row(record: StepRecord) -> dict[str, float]:
    """A step, or the mean of several, as a row."""
    return _rounded(asdict(record))


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()}


def line(record: Epoch) -> str:
    """An epoch as one line of log."""
    shown = [f"epoch {record.epoch:3d}"]
    shown += [f"train_{name} {value:.4f}" for name, value in sorted(record.train.items())]
    shown += [f"validation_{name} {value:.4f}" for name, value in sorted(record.validation.items())]
    return "  ".join([*shown, f"{record.sequences_per_second:,.0f} sequences/s", f"{record.seconds:.1f} s"])


def write(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write the rows as CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read(path: Path) -> list[dict[str, float]]:
    """The rows that `write` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in values.items()} for values in csv.DictReader(file)]

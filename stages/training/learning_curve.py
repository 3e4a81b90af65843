"""The learning curve: one row an epoch, and one a step, as CSV for DVC plots; an epoch as a line for people.

A refit goes through the first epochs again on more data: its figures stand in those epochs' rows, in columns of their
own that begin with REFIT. Its steps follow those of the training before, and a column says which they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.files import write_text

if TYPE_CHECKING:
    from .progress import Epoch, StepRecord, TrainingHistory


REFIT = "refit_"


def epoch_rows(measured: TrainingHistory, refit: TrainingHistory | None) -> list[dict[str, float]]:
    """All epochs as rows, with those of a refit beside them."""
    rows = [epoch_row(record) for record in measured.epochs]
    for row, record in zip(rows, refit.epochs if refit else (), strict=False):
        row.update({f"{REFIT}{name}": value for name, value in epoch_row(record).items() if name != "epoch"})
    return rows


def step_rows(measured: TrainingHistory, refit: TrainingHistory | None) -> list[dict[str, float]]:
    """All steps as rows; where there is a refit, `refit` is 1 for its own and 0 for those before."""
    if refit is None:
        return [step_row(record) for record in measured.step_records]
    return [
        {**step_row(record), "refit": number}
        for number, history in enumerate((measured, refit))
        for record in history.step_records
    ]


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
    """Write the rows as CSV; the first one has all columns, and what a later one lacks stays empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read(path: Path) -> list[dict[str, float]]:
    """The rows that `write` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]

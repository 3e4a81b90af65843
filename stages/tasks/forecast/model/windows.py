"""Windows on series: what a network sees before an origin, and the seven days after it.

An origin is the number of a step: the first day to forecast. A window is cut from the memory-mapped store when it is
read, so that a thousand windows on one series copy nothing. What the network sees is made from a `Past`, which ends
before the origin: nothing later can reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ....batching import Batch
from ....preparation import open_prepared
from ....sequences import SequenceStore
from ..params import ModelParams
from ..prepare.series import HORIZON, MIN_HISTORY, calendar_date
from .covariates import covariates

Borders = Callable[[int, int, int], range]  # (train_end, validation_end, length) → origins


@dataclass(frozen=True, slots=True)
class Past:
    """A series up to an origin: at least MIN_HISTORY values `(time,)`, and the day after the last of them."""

    values: np.ndarray
    next_day: int  # days since 1970-01-01


def encode(pasts: Sequence[Past], params: ModelParams) -> Batch:
    """What the network sees, without targets.

    `values` is `(batch, time, 1 + covariates)`: the scaled value and the covariates of each of the last `context_days`
    days; `context` holds `future` `(batch, 7, covariates)`, and `location` and `scale` `(batch, 1)`, float64, the mean
    and the standard deviation of the last `scale_days` days, or 0 and 1 without scaling: a value is
    `scaled · scale + location`.
    """
    lengths = np.array([min(len(past.values), params.context_days) for past in pasts])
    next_days = np.array([past.next_day for past in pasts])[:, None]
    steps = np.arange(lengths.max())
    scaled = np.zeros((len(pasts), len(steps), 1), dtype=np.float32)
    moments = np.empty((len(pasts), 2))
    for row, (past, length) in enumerate(zip(pasts, lengths, strict=True)):
        recent = past.values[-params.scale_days :]
        location, scale = moments[row] = _moments(recent) if params.scaling == "window" else (0.0, 1.0)
        scaled[row, :length, 0] = (past.values[-length:] - location) / scale
    known = covariates(next_days - lengths[:, None] + steps, params.covariates)
    known[steps >= lengths[:, None]] = 0.0
    values = np.concatenate([scaled, known], axis=-1)
    context = {
        "future": torch.from_numpy(covariates(next_days + np.arange(HORIZON), params.covariates)),
        "location": torch.from_numpy(moments[:, :1].copy()),
        "scale": torch.from_numpy(moments[:, 1:].copy()),
    }
    return Batch(values=torch.from_numpy(values), lengths=torch.from_numpy(lengths), context=context)


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; never a scale so small against the mean that float32 would lose the differences."""
    location = float(values.mean())
    return location, max(float(values.std()), 1e-4 * abs(location)) or 1.0


class Windows:
    """The windows of a split over all series, in the order of the store and then of time.

    Batches have `targets` `(batch, 7)`, scaled, and in `context` their `weights` `(batch, 7)`: 1, or 0 for a day that
    was not observed.
    """

    def __init__(self, folder: Path, params: ModelParams, origins: Borders) -> None:
        self.store: SequenceStore = open_prepared(folder)[0]
        self._params = params
        borders = (self.store.column(name).tolist() for name in ("train_end", "validation_end", "length"))
        self._ranges = [origins(*cut) for cut in zip(*borders, strict=True)]
        self._ends = np.cumsum([len(r) for r in self._ranges])
        self._starts = self.store.column("start").astype("datetime64[D]").astype(np.int64)
        longest = params.context_days
        self.lengths = np.concatenate([np.minimum(np.asarray(r, dtype=np.int64), longest) for r in self._ranges])

    def __len__(self) -> int:
        return len(self.lengths)

    def locate(self, example: int) -> tuple[int, int]:
        """The row of an example's series in the store, and its origin."""
        row = int(np.searchsorted(self._ends, example, side="right"))
        return row, self._ranges[row][example - (int(self._ends[row]) - len(self._ranges[row]))]

    def name(self, example: int) -> str:
        row, origin = self.locate(example)
        return f"{self.store.value('id', row)} from {calendar_date(int(self._starts[row]) + origin)}"

    def past(self, example: int) -> Past:
        """All that is known at the origin; a view of the store."""
        row, origin = self.locate(example)
        return Past(self.store.sequence("values", row)[:origin], int(self._starts[row]) + origin)

    def future(self, example: int) -> tuple[np.ndarray, np.ndarray]:
        """The seven values after the origin, float64, and which of them were observed, bool."""
        row, origin = self.locate(example)
        ahead = slice(origin, origin + HORIZON)
        return self.store.sequence("values", row)[ahead], self.store.sequence("observed", row)[ahead] > 0

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = encode([self.past(e) for e in examples], self._params)
        values, observed = zip(*(self.future(e) for e in examples), strict=True)
        location, scale = batch.context["location"], batch.context["scale"]
        targets = (torch.from_numpy(np.stack(values)) - location) / scale
        weights = torch.from_numpy(np.stack(observed).astype(np.float32))
        return Batch(
            values=batch.values,
            lengths=batch.lengths,
            targets=targets.float(),
            context={**batch.context, "weights": weights},
        )


def train_origins(train_end: int, validation_end: int, length: int) -> range:
    """Every day from two weeks after the start whose seven targets lie before the validation days."""
    return range(MIN_HISTORY, train_end - HORIZON + 1)


def validation_origins(train_end: int, validation_end: int, length: int) -> range:
    """Every day whose seven targets lie in the validation days."""
    return range(train_end, validation_end - HORIZON + 1)


def test_origins(train_end: int, validation_end: int, length: int) -> range:
    """Every day whose seven targets lie in the test days."""
    return range(validation_end, length - HORIZON + 1)


def rolling_origins(count: int, step: int) -> Borders:
    """Of the test days' origins every `step`th, counted back from the last, `count` at most."""

    def origins(train_end: int, validation_end: int, length: int) -> range:
        possible = test_origins(train_end, validation_end, length)
        kept = possible[::-1][::step][:count]
        return kept[::-1]

    return origins


ORIGINS: dict[str, Borders] = {"train": train_origins, "validation": validation_origins, "test": test_origins}

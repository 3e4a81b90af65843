"""Windows on series: what a network sees before an origin, and the seven days after it.

An origin is the number of a step: the first day to forecast. A window is cut from the memory-mapped store when it is
read, so that a thousand windows on one series copy nothing. What the network sees is made from a `Past`, which ends
before the origin: nothing later can reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....data.prepared import open_prepared
from ....data.store import SequenceStore
from ....models.batch import Batch
from ..data.series import HORIZON, MIN_HISTORY, calendar_date
from ..params import ModelParams
from .covariates import Covariates

Borders = Callable[[int, int, int], range]  # (train_end, validation_end, length) → origins


YEAR = 364  # days: the same weekday, a year ago
_YEAR_OFFSETS = (-7, -1, 0, 1, 7)  # days from there that a day ahead is told of
LAST_YEAR_SIZE = len(_YEAR_OFFSETS) + 1


@dataclass(frozen=True, slots=True)
class Past:
    """A series up to an origin: at least MIN_HISTORY values `(time,)`, and the day after the last of them.

    `known` is `(time + 7, known columns)`, `others` `(time, past columns)`, where the data has such columns; both are
    in the data's own units.
    """

    values: np.ndarray
    next_day: int  # days since 1970-01-01
    known: np.ndarray | None = None
    others: np.ndarray | None = None


class Inputs:
    """What a network sees of a series, by `params` and by preprocess's description of the data.

    Of a day that has been it sees `step_size` numbers, of each of the seven days ahead `day_size`. Raises ValueError
    where the data lacks a covariate that the params choose.
    """

    def __init__(self, params: ModelParams, data: Mapping[str, Any]) -> None:
        self._params = params
        self.context_days = params.context_days
        self.covariates = Covariates(params, data)
        self._fixed: Sequence[float] | None = None
        if params.scaling != "window":
            self._fixed = data["moments"][""] if params.scaling == "data" else (0.0, 1.0)
        self.step_size = 1 + self.covariates.known + self.covariates.past + params.last_year
        self.day_size = self.covariates.known + LAST_YEAR_SIZE * params.last_year

    def encode(self, pasts: Sequence[Past]) -> Batch:
        """What the network sees, without targets.

        `values` is `(batch, time, step_size)`: the scaled value of each of the last `context_days` days, what was known
        of the day, its past covariates, and the value a year before it; `context` holds `future`
        `(batch, 7, day_size)`, and `location` and `scale` `(batch, 1)`, float64, the mean and the standard deviation of
        the last `scale_days` days, or what `scaling` says instead: a value is `scaled · scale + location`.
        """
        params, covariates = self._params, self.covariates
        lengths = np.array([min(len(past.values), params.context_days) for past in pasts])
        next_days = np.array([past.next_day for past in pasts])[:, None]
        steps = np.arange(lengths.max())
        values = np.zeros((len(pasts), len(steps), self.step_size), dtype=np.float32)
        future = np.zeros((len(pasts), HORIZON, self.day_size), dtype=np.float32)
        calendar = slice(1, 1 + covariates.calendar_size)
        # Where a history is shorter than the longest, days after its end are looked up and wiped again.
        values[:, :, calendar] = covariates.calendar(
            np.where(steps < lengths[:, None], next_days - lengths[:, None] + steps, next_days)
        )
        values[:, :, calendar][steps >= lengths[:, None]] = 0.0
        future[:, :, : covariates.calendar_size] = covariates.calendar(next_days + np.arange(HORIZON))
        moments = np.empty((len(pasts), 2))
        for row, (past, length) in enumerate(zip(pasts, lengths.tolist(), strict=True)):
            location, scale = moments[row] = self._moments(past.values)
            values[row, :length, 0] = (past.values[-length:] - location) / scale
            place, ahead = calendar.stop, covariates.calendar_size
            if covariates.known_columns:
                assert past.known is not None, "a model with known_columns is given them"
                known = covariates.scaled_known(past.known[len(past.values) - length :])
                values[row, :length, place : place + known.shape[1]] = known[:length]
                future[row, :, ahead : ahead + known.shape[1]] = known[length:]
                place, ahead = place + known.shape[1], ahead + known.shape[1]
            if covariates.past_columns:
                assert past.others is not None, "a model with past_columns is given them"
                others = covariates.scaled_past(past.others[-length:])
                values[row, :length, place : place + others.shape[1]] = others
                place += others.shape[1]
            if params.last_year and len(past.values) >= YEAR + MIN_HISTORY:
                before = past.values[: len(past.values) - YEAR]
                level = self._moments(before)[0]
                values[row, :length, place] = _last_year(past.values, length, level, scale)
                future[row, :, ahead:-1] = (_around_last_year(past.values) - level) / scale
                future[row, :, -1] = 1.0
        context = {
            "future": torch.from_numpy(future),
            "location": torch.from_numpy(moments[:, :1].copy()),
            "scale": torch.from_numpy(moments[:, 1:].copy()),
        }
        return Batch(values=torch.from_numpy(values), lengths=torch.from_numpy(lengths), context=context)

    def step(self, value: Tensor, day: Tensor) -> Tensor:
        """A day ahead as if it had been: scaled values `(batch,)` and what is known of the day `(batch, day_size)` to
        `(batch, step_size)`. Its past covariates are their mean, which is 0.
        """
        known = self.covariates.known
        parts = [value[:, None], day[:, :known], value.new_zeros(len(value), self.covariates.past)]
        if self._params.last_year:
            same_day = known + _YEAR_OFFSETS.index(0)
            parts.append(day[:, same_day : same_day + 1])
        return torch.cat(parts, dim=-1)

    def _moments(self, values: np.ndarray) -> tuple[float, float]:
        """What a value is scaled by: mean and standard deviation of the last `scale_days` of `(time,)`, never a scale
        so small against the mean that float32 would lose the differences; of the training days of all data; or 0 and 1.
        """
        if self._fixed is not None:
            location, scale = self._fixed
            return location, scale
        recent = values[-self._params.scale_days :]
        location = float(recent.mean())
        return location, max(float(recent.std()), 1e-4 * abs(location)) or 1.0


def _last_year(values: np.ndarray, length: int, level: float, scale: float) -> np.ndarray:
    """The scaled values a year before each of the last `length` days, `(length,)`; 0 before the series begins."""
    end = len(values) - YEAR
    found = values[max(0, end - length) : end]
    return np.concatenate([np.zeros(length - len(found)), (found - level) / scale])


def _around_last_year(values: np.ndarray) -> np.ndarray:
    """The values about a year before each of the seven days ahead, `(7, offsets)`."""
    days = len(values) - YEAR + np.arange(HORIZON)[:, None] + np.array(_YEAR_OFFSETS)
    return values[days]


class Windows:
    """The windows of a split over all series, in the order of the store and then of time.

    Batches have `targets` `(batch, 7)`, scaled, and in `context` their `weights` `(batch, 7)`: 1, or 0 for a day that
    was not observed.
    """

    def __init__(self, folder: Path, params: ModelParams, origins: Borders) -> None:
        found = open_prepared(folder)
        self.store: SequenceStore = found[0]
        self.inputs = Inputs(params, found[1])
        columns = self.store.columns
        self._known, self._others = "known" in columns, "past" in columns
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
        return Past(
            self.store.sequence("values", row)[:origin],
            int(self._starts[row]) + origin,
            known=self.store.sequence("known", row)[: origin + HORIZON] if self._known else None,
            others=self.store.sequence("past", row)[:origin] if self._others else None,
        )

    def future(self, example: int) -> tuple[np.ndarray, np.ndarray]:
        """The seven values after the origin, float64, and which of them were observed, bool."""
        row, origin = self.locate(example)
        ahead = slice(origin, origin + HORIZON)
        return self.store.sequence("values", row)[ahead], self.store.sequence("observed", row)[ahead] > 0

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = self.inputs.encode([self.past(e) for e in examples])
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

"""Windows on series: what a network sees before an origin, and the seven days after it.

An origin is the number of a step: the first day to forecast. A window is cut from the memory-mapped store when it is
read, so that a thousand windows on one series copy nothing. What the network sees is made from a `History`, which ends
before the origin: nothing later can reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....data.prepared import open_prepared
from ....data.store import Split, split_names
from ....models.batch import Batch
from ..data.series import HORIZON, MIN_HISTORY, calendar_date
from ..params import CLOSED_FORM_DAYS, ModelParams
from .covariates import Covariates, standardize

Origins = Callable[[int, int, int], range]  # (train_end, validation_end, length) → the origins of a split

YEAR = 364  # days: the same weekday, a year ago
YEAR_OFFSETS = (-7, -1, 0, 1, 7)  # days from there that a day ahead is told of
PAST_DAYS = CLOSED_FORM_DAYS
LAST_YEAR_SIZE = len(YEAR_OFFSETS) + 1


@dataclass(frozen=True, slots=True)
class History:
    """A series up to an origin: at least MIN_HISTORY values `(time,)`, and the day after the last of them.

    `known` is `(time + 7, known columns)`, `past` `(time, past columns)`, where the data has such columns; both are in
    the data's own units.
    """

    values: np.ndarray
    next_day: int  # days since 1970-01-01
    known: np.ndarray | None = None
    past: np.ndarray | None = None


class FeatureEncoder:
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
        # The closed form takes the calendar out of the values: nothing need be told of the calendar of the past.
        self.closed_form = params.linear == "closed_form"
        calendar = len(self.covariates.known_columns) if self.closed_form else self.covariates.known
        self.step_size = 1 + calendar + self.covariates.past + params.last_year
        self.day_size = self.covariates.known + LAST_YEAR_SIZE * params.last_year

    def encode(self, histories: Sequence[History]) -> Batch:
        """What the network sees, without targets.

        `values` is `(batch, time, step_size)`: the scaled value of each of the last `context_days` days, what was known
        of the day, its past covariates, and the value a year before it; `context` holds `future`
        `(batch, 7, day_size)`, and `location` and `scale` `(batch, 1)`, float64, the mean and the standard deviation of
        the last `scale_days` days, or what `scaling` says instead: a value is `scaled · scale + location`.

        For the closed form, `context` also holds `day` and `history` `(batch,)`, the first day ahead since 1970-01-01
        and how many days are known before it, and `past` `(batch, PAST_DAYS)`, their scaled values, yesterday last.
        """
        covariates = self.covariates
        lengths = np.array([min(len(history.values), self.context_days) for history in histories])
        values = np.zeros((len(histories), lengths.max(), self.step_size), dtype=np.float32)
        future = np.zeros((len(histories), HORIZON, self.day_size), dtype=np.float32)
        moments = np.empty((len(histories), 2))
        next_days = np.array([history.next_day for history in histories])[:, None]
        read = 0 if self.closed_form else lengths.max()  # days of the past whose calendar is told
        days = next_days - np.minimum(lengths, read)[:, None] + np.arange(read + HORIZON)
        # Of a short history the row reaches past the last day ahead, where the table of holidays may end.
        calendar = covariates.calendar(np.minimum(days, next_days + HORIZON - 1))
        past = np.zeros((len(histories), PAST_DAYS if self.closed_form else 0), dtype=np.float32)
        for row, (history, length) in enumerate(zip(histories, lengths.tolist(), strict=True)):
            location, scale = moments[row] = self._moments(history.values)
            told = min(length, read)
            steps = [((history.values[-length:] - location) / scale)[:, None]]
            if not self.closed_form:
                steps.append(calendar[row, :length])
            ahead = [calendar[row, told : told + HORIZON]]
            if covariates.known_columns:
                assert history.known is not None, "a model with known_columns is given them"
                known = standardize(history.known[len(history.values) - length :], covariates.known_moments)
                steps.append(known[:length])
                ahead.append(known[length:])
            if covariates.past_columns:
                assert history.past is not None, "a model with past_columns is given them"
                steps.append(standardize(history.past[-length:], covariates.past_moments))
            if self._params.last_year:
                step, day = self._last_year(history.values, length, scale)
                steps.append(step)
                ahead.append(day)
            values[row, :length] = np.concatenate(steps, axis=1)
            future[row] = np.concatenate(ahead, axis=1)
            if self.closed_form:
                recent = history.values[-PAST_DAYS:]
                past[row, PAST_DAYS - len(recent) :] = (recent - location) / scale
        context = {
            "future": torch.from_numpy(future),
            "location": torch.from_numpy(moments[:, :1].copy()),
            "scale": torch.from_numpy(moments[:, 1:].copy()),
        }
        if self.closed_form:
            context["past"] = torch.from_numpy(past)
            context["day"] = torch.from_numpy(next_days[:, 0].astype(np.int64))
            context["history"] = torch.tensor([len(history.values) for history in histories])
        return Batch(values=torch.from_numpy(values), lengths=torch.from_numpy(lengths), context=context)

    def step(self, value: Tensor, day: Tensor) -> Tensor:
        """A day ahead as if it had been: scaled values `(batch,)` and what is known of the day `(batch, day_size)` to
        `(batch, step_size)`. Its past covariates are their mean, which is 0.
        """
        known = self.covariates.known
        parts = [value[:, None], day[:, :known], value.new_zeros(len(value), self.covariates.past)]
        if self._params.last_year:
            same_day = known + YEAR_OFFSETS.index(0)
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

    def _last_year(self, values: np.ndarray, length: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Scaled values a year before: of each of the last `length` days, `(length, 1)`, and about each day ahead,
        `(7, LAST_YEAR_SIZE)`, where the last column is 1. All 0 where a history has not two weeks before that.
        """
        steps, ahead = np.zeros((length, 1)), np.zeros((HORIZON, LAST_YEAR_SIZE))
        end = len(values) - YEAR
        if end >= MIN_HISTORY:
            level = self._moments(values[:end])[0]
            before = values[max(0, end - length) : end]
            steps[length - len(before) :, 0] = (before - level) / scale
            around = values[end + np.arange(HORIZON)[:, None] + np.array(YEAR_OFFSETS)]
            ahead[:, :-1] = (around - level) / scale
            ahead[:, -1] = 1.0
        return steps, ahead


class RawWindows:
    """The windows of a split over all series, in the order of the store and then of time, in the data's own units."""

    def __init__(self, folder: Path, origins: Origins) -> None:
        self.store, self.data = open_prepared(folder)
        self._columns = self.store.columns
        borders = (self.store.column(name).tolist() for name in ("train_end", "validation_end", "length"))
        self._ranges = [origins(*cut) for cut in zip(*borders, strict=True)]
        self._ends = np.cumsum([len(r) for r in self._ranges])
        self._starts = self.store.column("start").astype("datetime64[D]").astype(np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(self, example: int) -> tuple[int, int]:
        """The row of an example's series in the store, and its origin."""
        row = int(np.searchsorted(self._ends, example, side="right"))
        return row, self._ranges[row][example - (int(self._ends[row]) - len(self._ranges[row]))]

    def name(self, example: int) -> str:
        row, origin = self.locate(example)
        return f"{self.store.value('id', row)} from {calendar_date(int(self._starts[row]) + origin)}"

    def history(self, example: int) -> History:
        """All that is known at the origin; a view of the store."""
        row, origin = self.locate(example)
        return History(
            self.store.sequence("values", row)[:origin],
            int(self._starts[row]) + origin,
            known=self.store.sequence("known", row)[: origin + HORIZON] if "known" in self._columns else None,
            past=self.store.sequence("past", row)[:origin] if "past" in self._columns else None,
        )

    def future(self, example: int) -> tuple[np.ndarray, np.ndarray]:
        """The seven values after the origin, float64, and which of them were observed, bool."""
        row, origin = self.locate(example)
        ahead = slice(origin, origin + HORIZON)
        return self.store.sequence("values", row)[ahead], self.store.sequence("observed", row)[ahead] > 0


class Windows(RawWindows):
    """Windows as a network sees them.

    Batches have `targets` `(batch, 7)`, scaled, and in `context` their `weights` `(batch, 7)`: 1, or 0 for a day that
    was not observed.
    """

    def __init__(self, folder: Path, params: ModelParams, origins: Origins) -> None:
        super().__init__(folder, origins)
        self.features = FeatureEncoder(params, self.data)
        all_origins = [np.asarray(r, dtype=np.int64) for r in self._ranges]
        self.lengths = np.minimum(np.concatenate(all_origins), params.context_days)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = self.features.encode([self.history(e) for e in examples])
        values, observed = (np.stack(part) for part in zip(*(self.future(e) for e in examples), strict=True))
        targets = (torch.from_numpy(values) - batch.context["location"]) / batch.context["scale"]
        weights = torch.from_numpy(observed.astype(np.float32))
        return replace(batch, targets=targets.float(), context={**batch.context, "weights": weights})


def train_origins(train_end: int, validation_end: int, length: int) -> range:
    """Every day from two weeks after the start whose seven targets lie before the validation days."""
    return range(MIN_HISTORY, train_end - HORIZON + 1)


def validation_origins(train_end: int, validation_end: int, length: int) -> range:
    """Every day whose seven targets lie in the validation days."""
    return range(train_end, validation_end - HORIZON + 1)


def test_origins(train_end: int, validation_end: int, length: int) -> range:
    """Every day whose seven targets lie in the test days."""
    return range(validation_end, length - HORIZON + 1)


def rolling_origins(count: int | None, step: int) -> Origins:
    """Of the test days' origins every `step`th, counted back from the last, `count` at most, or all."""

    def origins(train_end: int, validation_end: int, length: int) -> range:
        return test_origins(train_end, validation_end, length)[::-1][::step][:count][::-1]

    return origins


ORIGINS: dict[str, Origins] = {"train": train_origins, "validation": validation_origins, "test": test_origins}


def origins_of(split: Split) -> Origins:
    """Every origin of a split; of several, which follow each other, also those whose targets lie in two of them."""
    names = split_names(split)

    def origins(train_end: int, validation_end: int, length: int) -> range:
        first, last = (ORIGINS[name](train_end, validation_end, length) for name in (names[0], names[-1]))
        return range(first.start, last.stop)

    return origins

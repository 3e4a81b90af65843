"""The linear path in closed form: what the calendar does to a day, and a regression on the past without it.

Gradient descent learns rare days slowly: a date comes once a year, a holiday on a Monday once in six. A ridge
regression weighs them exactly, in seconds. So the calendar's effect on a day is fitted first, to all training days; it
is taken out of the past and put back on the days ahead (regression with autocorrelated errors: Hyndman and
Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, 10). The recurrent part learns what both leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ....data.evenly import evenly
from ....models.batch import Batch, Dataset
from ..data.series import HORIZON, SEASON
from .windows import PAST_DAYS, YEAR, YEAR_OFFSETS, FeatureEncoder

_LAGS = 28
_MEANS = (7, 14, 28, 56, 91, 182, 364)  # last days whose means are told: a year of the past at little cost
_WEEKS = (8, 52)  # last weeks over which the day's own weekday is averaged
_SIZE = _LAGS + len(_MEANS) + len(_WEEKS) + len(YEAR_OFFSETS) + 2
_CALENDAR_PENALTY = 1.0  # of a day's effect: a date that was seen four times keeps four fifths of its own
_PENALTIES = np.logspace(-1, 4, 11)  # one is chosen by the last days of the training windows
_HELD_BACK, _HELD_BACK_DAYS = 0.2, 365  # of the training windows, the last so many, and no more days
_MOST_WINDOWS, _BATCH_SIZE = 20_000, 1024
_FAR = 10  # times the usual: windows with targets farther from zero count less


class ClosedForm(nn.Module):
    """A linear forecast of seven days. It is fitted to training windows and not learned: its numbers are buffers."""

    effects: Tensor  # (days,), what the calendar adds to a day, scaled
    corrections: Tensor  # (7, days), and once more for each day ahead, beside the past
    weights: Tensor  # (7, numbers of the past)

    def __init__(self, features: FeatureEncoder) -> None:
        super().__init__()
        self._covariates = features.covariates
        self._first_day, last = features.covariates.table_days
        self.register_buffer("effects", torch.zeros(last - self._first_day + 1))
        self.register_buffer("corrections", torch.zeros(HORIZON, last - self._first_day + 1))
        known = len(self._covariates.known_columns)
        self._columns = slice(self._covariates.known - known, self._covariates.known)
        self._size = _SIZE + known
        self.register_buffer("weights", torch.zeros(HORIZON, self._size))

    def forward(self, batch: Batch) -> Tensor:
        """`(batch, 7)`, scaled as the batch is."""
        past = torch.einsum("bdf,df->bd", self._past(batch), self.weights)
        days = self._days(batch, torch.arange(HORIZON, device=past.device))
        corrections = self.corrections[torch.arange(HORIZON, device=past.device), days]
        return past + self.effects[days] + corrections

    def without_calendar(self, batch: Batch) -> Tensor:
        """The values of the last PAST_DAYS days less the calendar's effect, `(batch, PAST_DAYS)`, yesterday last; 0
        before a history begins.
        """
        past = batch.context["past"]
        back = torch.arange(-PAST_DAYS, 0, device=past.device)
        return (past - self.effects[self._days(batch, back)]) * (-back <= batch.context["history"][:, None])

    def fit(self, train: Dataset) -> None:
        """Fit to training windows: first the calendar's effect on a day, then the rest for each day ahead.

        The penalty of the second is the one of _PENALTIES with the least absolute error on the last of the windows'
        days, by a fit to the others. Days that were not observed do not count.
        """
        chosen = evenly(len(train), _MOST_WINDOWS)
        starts = range(0, len(chosen), _BATCH_SIZE)
        batches = _tempered([train.batch(chosen[start : start + _BATCH_SIZE]) for start in starts])
        every = np.arange(self._first_day, self._first_day + len(self.effects))
        table = self._covariates.effects(every, dates=True)
        self._fit_effects(batches, table)
        smooth = self._covariates.effects(every, dates=False)
        days = np.concatenate([batch.context["day"].numpy() for batch in batches])
        border = max(np.quantile(days, 1 - _HELD_BACK), days.max() - _HELD_BACK_DAYS)
        size = self._size + smooth.shape[1]
        squares = np.zeros((2, HORIZON, size, size))
        products = np.zeros(squares.shape[:3])
        for when, features, targets, observed in self._examples(batches, smooth):
            # What is held back must not meet the targets of what is learned.
            for part, some in enumerate((when < border - HORIZON, when >= border)):
                weighted = features[some] * observed[some][..., None]
                squares[part] += np.einsum("bdf,bdg->dfg", weighted, features[some], optimize=True)
                products[part] += np.einsum("bdf,bd->df", weighted, targets[some])
        tried = np.stack([_solved(squares[0], products[0], penalty) for penalty in _PENALTIES])
        errors = np.zeros(len(_PENALTIES))
        for when, features, targets, observed in self._examples(batches, smooth):
            some = when >= border
            apart = np.einsum("bdf,adf->abd", features[some], tried, optimize=True) - targets[some]
            errors += (np.abs(apart) * observed[some]).sum(axis=(1, 2))
        best = _solved(squares.sum(axis=0), products.sum(axis=0), _PENALTIES[int(np.argmin(errors))])
        self.weights.copy_(torch.from_numpy(best[:, : self._size]))
        self.corrections.copy_(torch.from_numpy(best[:, self._size :] @ smooth.T))

    def _fit_effects(self, batches: list[Batch], table: np.ndarray) -> None:
        """By the first day ahead of each window, in deviations of its own past."""
        size = table.shape[1] + 1
        squares, products = np.zeros((size, size)), np.zeros(size)
        for batch in batches:
            assert batch.targets is not None
            rows = table[batch.context["day"].numpy() - self._first_day]
            root = np.sqrt(batch.context["weights"].numpy()[:, :1])
            rows = np.column_stack([rows, np.ones(len(rows))]) * root
            squares += rows.T @ rows
            products += (rows * root).T @ batch.targets.double().numpy()[:, 0]
        found = np.linalg.solve(squares + _CALENDAR_PENALTY * _all_but_last(size), products)
        self.effects.copy_(torch.from_numpy(table @ found[:-1] + found[-1]))

    def _examples(
        self, batches: list[Batch], table: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Of each batch its days, numbers `(batch, 7, numbers)`, what they must add up to, and what was observed."""
        for batch in batches:
            assert batch.targets is not None
            ahead = self._days(batch, torch.arange(HORIZON)).numpy()
            features = np.concatenate([self._past(batch).double().numpy(), table[ahead]], axis=-1)
            targets = (batch.targets - self.effects[torch.from_numpy(ahead)]).double().numpy()
            yield batch.context["day"].numpy(), features, targets, batch.context["weights"].numpy()

    def _past(self, batch: Batch) -> Tensor:
        """What the linear path reads of the past for each day ahead, a 1 for the constant, and the known columns
        of the day: `(batch, 7, numbers)`."""
        past, history = self.without_calendar(batch), batch.context["history"][:, None]
        sums = past.flip(-1).cumsum(dim=-1)
        means = torch.stack([sums[:, days - 1] / history[:, 0].clamp(1, days) for days in _MEANS], dim=1)
        known = (history >= PAST_DAYS).to(past.dtype)
        same = torch.cat([past[:, -_LAGS:].flip(-1), means], dim=-1)[:, None].expand(-1, HORIZON, -1)
        own = []
        for day in range(HORIZON):
            back = SEASON * torch.arange(1, max(_WEEKS) + 1, device=past.device) - day  # days back, the same weekday
            values, there = past[:, -back], (back <= history).to(past.dtype)
            weeks = [values[:, :n].sum(dim=1) / there[:, :n].sum(dim=1).clamp(min=1) for n in _WEEKS]
            year = past[:, [day - YEAR + offset for offset in YEAR_OFFSETS]] * known
            own.append(torch.cat([torch.stack(weeks, dim=1), year, known, torch.ones_like(known)], dim=1))
        return torch.cat([same, torch.stack(own, dim=1), batch.context["future"][..., self._columns]], dim=-1)

    def _days(self, batch: Batch, offsets: Tensor) -> Tensor:
        """The places in the tables of days so far from the first one ahead, `(batch, offsets)`."""
        return (batch.context["day"][:, None] + offsets - self._first_day).clamp(0, len(self.effects) - 1)


def _tempered(batches: list[Batch]) -> list[Batch]:
    """The same, with less weight for windows whose targets are far larger than usual: as if they were scaled to the
    limit. A series that begins with a constant has no scale of its own, and squared, a week of it would count for more
    than years.
    """
    peaks = []
    for batch in batches:
        assert batch.targets is not None
        peaks.append((batch.targets.abs() * batch.context["weights"]).amax(dim=1, keepdim=True))
    limit = _FAR * torch.cat(peaks).median()
    if not limit:
        return batches
    return [
        replace(
            batch, context={**batch.context, "weights": batch.context["weights"] * (limit / peak).clamp(max=1) ** 2}
        )
        for batch, peak in zip(batches, peaks, strict=True)
    ]


def _solved(squares: np.ndarray, products: np.ndarray, penalty: float) -> np.ndarray:
    """Weights `(7, numbers)`; the constant, the last number of the past, is hardly penalised."""
    free = np.ones(squares.shape[-1])
    free[_SIZE - 1] = 1e-6
    return np.linalg.solve(squares + penalty * np.diag(free), products[..., None])[..., 0]


def _all_but_last(size: int) -> np.ndarray:
    penalised = np.eye(size)
    penalised[-1, -1] = 1e-6
    return penalised

"""Recurrent networks that forecast seven days as quantiles, and the windows they learn from.

A network is a small ensemble: members of the same shape and different first weights, trained side by side on the same
batches; the forecast is the mean of their quantiles (Lichtendahl, Grushka-Cockayne and Winkler, "Is It Better to
Average Probabilities or Quantiles?", 2013). After training, the validation days say how much of last week's values to
blend in and how much wider or narrower the bands must be; both are part of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....data.prepared import open_prepared
from ....data.store import Split, split_names
from ....models.batch import Batch, Dataset
from ....models.learned import Identities, Learned
from ....models.network import Losses, Network, Predict
from ..data.series import HORIZON, SEASON
from ..params import ModelParams, Params
from .calibrate import blend_weights, quantile_offsets
from .closed_form import ClosedForm
from .decoders import build_decoder
from .windows import PAST_DAYS, FeatureEncoder, Windows, origins_of

LAST_DAYS = {"train": "train_end", "validation": "validation_end", "test": "length"}  # the day after them, by split


def build(params: ModelParams, data: Mapping[str, Any]) -> Forecaster:
    """A network with fresh weights. Raises ValueError where the data lacks a covariate that the params choose."""
    return Forecaster(params, FeatureEncoder(params, data))


def dataset(folder: Path, split: Split, params: Params, *, augment: bool) -> Windows:
    """The windows of a split, or of several: every day is an origin. Nothing is augmented: a series has one past."""
    return Windows(folder, params.model, origins_of(split))


def learned(folder: Path, split: Split) -> Learned:
    """Of each series the days up to the last one of the splits."""
    store, _ = open_prepared(folder)
    first = store.column("start").astype("datetime64[D]").astype(np.int64)
    last = first + store.column(LAST_DAYS[split_names(split)[-1]]) - 1
    return Learned.of(Identities(store.column("id"), np.stack([first, last], axis=1)))


def identities(folder: Path, rows: np.ndarray) -> Identities:
    """Some series of the store with all of their days."""
    store, _ = open_prepared(folder)
    first = store.column("start")[rows].astype("datetime64[D]").astype(np.int64)
    last = first + store.column("length")[rows] - 1
    return Identities(store.values("id", rows), np.stack([first, last], axis=1))


class Forecaster(Network):
    """An ensemble of forecasters over the same batch."""

    quantiles: Tensor
    blend: Tensor  # (7,), the network's share of each day's forecast; the rest is last week's
    margins: Tensor  # (7, quantiles), scaled, the offsets that calibration adds

    def __init__(self, params: ModelParams, features: FeatureEncoder) -> None:
        super().__init__()
        self.params = params
        self.features = features
        self.closed_form = ClosedForm(features) if features.closed_form else None
        self.members = nn.ModuleList(Member(params, features) for _ in range(params.members))
        self.register_buffer("quantiles", torch.tensor(params.quantiles), persistent=False)
        self.register_buffer("blend", torch.ones(HORIZON))
        self.register_buffer("margins", torch.zeros(HORIZON, len(params.quantiles)))
        self._middle = params.quantiles.index(0.5)

    def forward(self, batch: Batch) -> Tensor:
        """`(batch, 7, quantiles)`, scaled as the batch is, ascending in the last dimension; blended and calibrated."""
        quantiles = self._blended(self._members(batch).mean(dim=0), _last_week(batch)) + self.margins
        up = quantiles[..., self._middle :].cummax(dim=-1).values
        down = quantiles[..., : self._middle + 1].flip(-1).cummin(dim=-1).values.flip(-1)
        return torch.cat([down[..., :-1], up], dim=-1)

    def forecast(self, batch: Batch) -> Tensor:
        """`(batch, 7, 1 + quantiles)` in the series' own unit, float64: the mean, then the quantiles.

        The mean is that of the distribution whose quantile function is drawn straight between the quantiles, and level
        beyond the outermost.
        """
        quantiles = self(batch).double()
        edges = torch.cat([quantiles[..., :1], quantiles, quantiles[..., -1:]], dim=-1)
        levels = functional.pad(self.quantiles.double(), (1, 1))
        levels[-1] = 1.0
        mean = torch.trapezoid(edges, levels, dim=-1)
        scale, location = batch.context["scale"][:, :, None], batch.context["location"][:, :, None]
        return torch.cat([mean[..., None], quantiles], dim=-1) * scale + location

    def losses(self, batch: Batch) -> Losses:
        """`loss` is the mean pinball loss of the members; `quantile_error` and `absolute_error` are the ensemble's,
        before it is blended and calibrated.
        """
        assert batch.targets is not None
        members = self._members(batch)
        weights = batch.context["weights"]
        count = weights.sum().clamp(min=1.0)
        ensemble = members.mean(dim=0)
        absolute = (ensemble[..., self._middle] - batch.targets).abs()
        return {
            "loss": ((self._pinball(members, batch.targets).mean(dim=0) * weights).sum(), count),
            "quantile_error": ((self._pinball(ensemble, batch.targets) * weights).sum(), count),
            "absolute_error": ((absolute * weights).sum(), count),
        }

    def fit_without_gradients(self, train: Dataset) -> None:
        """Fit the linear path in closed form, where params ask for one."""
        if self.closed_form is not None:
            self.closed_form.fit(train)

    def calibrate(self, predict: Predict) -> None:
        """Fit the blend and then the calibration to validation windows."""

        def columns(batch: Batch) -> Tensor:
            assert batch.targets is not None
            others = [_last_week(batch), batch.targets, batch.context["weights"]]
            return torch.cat([self._members(batch).mean(dim=0), torch.stack(others, dim=-1)], dim=-1)

        found = predict(columns)
        forecast, last_week, actual, observed = found[..., :-3], found[..., -3], found[..., -2], found[..., -1] > 0
        if self.params.blend == "seasonal_naive":
            self.blend.copy_(torch.from_numpy(blend_weights(forecast[..., self._middle], last_week, actual, observed)))
            blended = self._blended(*(torch.from_numpy(part).to(self.blend) for part in (forecast, last_week)))
            forecast = blended.cpu().numpy()
        self.margins.copy_(torch.from_numpy(quantile_offsets(forecast, actual, observed, self.params.quantiles)))

    def copy_calibration(self, other: Network) -> None:
        assert isinstance(other, Forecaster)
        self.blend.copy_(other.blend)
        self.margins.copy_(other.margins)

    def match_calibration(self, measured: Network, predict: Predict, predict_measured: Predict) -> None:
        """The same blend, and bands that are as wide as the measured network's: for each day ahead and quantile, the
        mean distance from the median over the validation windows.
        """
        assert isinstance(measured, Forecaster)
        self.blend.copy_(measured.blend)
        self.margins.zero_()
        distances = [
            (forecast - forecast[..., self._middle : self._middle + 1]).mean(axis=0, dtype=np.float64)
            for forecast in (predict_measured(measured), predict(self))
        ]
        self.margins.copy_(torch.from_numpy(distances[0] - distances[1]))

    def _blended(self, quantiles: Tensor, last_week: Tensor) -> Tensor:
        """All quantiles of a day moved alike: `(batch, 7, quantiles)` and `(batch, 7)`."""
        apart = last_week - quantiles[..., self._middle]
        return quantiles + ((1 - self.blend) * apart)[..., None]

    def _members(self, batch: Batch) -> Tensor:
        """`(members, batch, 7, quantiles)`"""
        if self.closed_form is None:
            return torch.stack([member(batch) for member in self.members])
        linear = self.closed_form(batch)
        rest = self._without_calendar(batch, self.closed_form)
        return torch.stack([member(rest) for member in self.members]) + linear[..., None]

    @staticmethod
    def _without_calendar(batch: Batch, closed_form: ClosedForm) -> Batch:
        """The batch with the context's values less what the calendar does to them."""
        lengths, time = batch.lengths[:, None], torch.arange(batch.values.shape[1], device=batch.values.device)
        back = (lengths - time).clamp(min=1)  # days before the origin
        values = closed_form.without_calendar(batch).gather(1, PAST_DAYS - back) * (time < lengths)
        return replace(batch, values=torch.cat([values[..., None], batch.values[..., 1:]], dim=-1))

    def _pinball(self, forecast: Tensor, targets: Tensor) -> Tensor:
        """Twice the pinball loss, averaged over the quantiles: `(…, 7, quantiles)`, `(batch, 7)` to `(…, 7)`.

        At the median alone it is the absolute error (Koenker and Bassett, "Regression Quantiles", 1978).
        """
        error = targets[..., None] - forecast
        return 2 * torch.maximum(self.quantiles * error, (self.quantiles - 1) * error).mean(dim=-1)


class Member(nn.Module):
    """One network: a recurrent part beside a linear one.

    The linear one leads from the whole context and from what is known of each day straight to that day, so that the
    recurrent part learns only what a linear regression cannot (Lai et al., "Modeling Long- and Short-Term Temporal
    Patterns with Deep Neural Networks", 2018). It starts at zero: random weights take a short training long to unlearn.
    With `model.linear: closed_form` it is the ensemble's own (`closed_form.py`), and a member has none.
    """

    def __init__(self, params: ModelParams, features: FeatureEncoder) -> None:
        super().__init__()
        self.linear = None if features.closed_form else Linear(features)
        self.decoder = build_decoder(params, features)
        self.head = Head(params.hidden_size, features.day_size, len(params.quantiles), dropout=params.dropout)
        self._middle = params.quantiles.index(0.5)

    def forward(self, batch: Batch) -> Tensor:
        """`(batch, 7, quantiles)`, scaled and ascending."""
        future = batch.context["future"]
        linear = future.new_zeros(future.shape[:2]) if self.linear is None else self.linear(batch)

        def head(states: Tensor, days: slice) -> Tensor:
            outputs = ascending(self.head(states, future[:, days], days), self._middle)
            return outputs + linear[:, days, None]

        return self.decoder(batch, head)


class Linear(nn.Module):
    """A linear regression for each of the seven days, on the numbers of the context and on those of the day.

    Much of the context says the same twice, such as the weekday of each of its days. Left out, a short training fits
    worse: each copy adds to the steps that gradient descent takes along what they say.
    """

    def __init__(self, features: FeatureEncoder) -> None:
        super().__init__()
        self._context_days = features.context_days
        self.past = nn.Parameter(torch.zeros(HORIZON, features.context_days * features.step_size))
        self.day = nn.Parameter(torch.zeros(HORIZON, features.day_size))
        self.bias = nn.Parameter(torch.zeros(HORIZON))

    def forward(self, batch: Batch) -> Tensor:
        """`(batch, 7)`. A day counts by how long it is before the origin; those a short history lacks are zeros."""
        back = batch.lengths[:, None] - 1 - torch.arange(self._context_days, device=batch.values.device)
        index = back.clamp(min=0)[..., None].expand(-1, -1, batch.values.shape[-1])
        past = batch.values.gather(1, index) * (back >= 0)[..., None]
        days = (batch.context["future"] * self.day).sum(dim=-1)
        return past.flatten(1) @ self.past.T + days + self.bias


class Head(nn.Module):
    """From a state for each day and what is known of the day to `outputs` numbers a day.

    The first layer is the same for all days, the second is each day's own: a band widens with the days.
    """

    def __init__(self, hidden_size: int, known: int, outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(hidden_size + known, hidden_size)
        self.weight = nn.Parameter(torch.randn(HORIZON, hidden_size, outputs) / hidden_size**0.5)
        self.bias = nn.Parameter(torch.zeros(HORIZON, outputs))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, future: Tensor, days: slice) -> Tensor:
        """`(batch, days, hidden_size)` and `(batch, days, known)` of some of the days to `(batch, days, outputs)`."""
        hidden = self.dropout(functional.gelu(self.first(self.dropout(torch.cat([states, future], dim=-1)))))
        return torch.einsum("bdh,dho->bdo", hidden, self.weight[days]) + self.bias[days]


def ascending(outputs: Tensor, middle: int) -> Tensor:
    """Free numbers as ascending ones `(…, n)`: the middle one as it is, from there positive steps to both sides."""
    centre = outputs[..., middle : middle + 1]
    up = functional.softplus(outputs[..., middle + 1 :]).cumsum(dim=-1)
    down = functional.softplus(outputs[..., :middle]).flip(-1).cumsum(dim=-1).flip(-1)
    return torch.cat([centre - down, centre, centre + up], dim=-1)


def _last_week(batch: Batch) -> Tensor:
    """The scaled values of the last seven days, `(batch, 7)`: the seasonal naive forecast."""
    days = batch.lengths[:, None] - SEASON + torch.arange(HORIZON, device=batch.lengths.device)
    return batch.values[..., 0].gather(1, days)

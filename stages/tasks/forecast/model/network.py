"""Recurrent networks that forecast seven days at once, as quantiles, and the windows they learn from.

A network is a small ensemble: members of the same shape and different first weights, trained side by side on the same
batches; the forecast is the mean of their quantiles (Lichtendahl, Grushka-Cockayne and Winkler, "Is It Better to
Average Probabilities or Quantiles?", 2013).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....batching import Batch
from ....models.network import Network, Sums
from ....models.recurrent import Cell, RecurrentStack, last_step
from ..params import ModelParams, Params
from ..prepare.series import HORIZON, MIN_HISTORY
from .covariates import size
from .windows import ORIGINS, Windows


def build(params: ModelParams, data: Mapping[str, Any]) -> Forecaster:
    """A network with fresh weights; series need no description, since each window is scaled by itself."""
    return Forecaster(params)


def dataset(folder: Path, split: str, params: Params, *, augment: bool) -> Windows:
    """The windows of a split: every day is an origin. Nothing is augmented: a series has one past."""
    return Windows(folder, params.model, ORIGINS[split])


class Forecaster(Network):
    """An ensemble of forecasters over the same batch."""

    quantiles: Tensor

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        self.params = params
        self.members = nn.ModuleList(Member(params) for _ in range(params.members))
        self.register_buffer("quantiles", torch.tensor(params.quantiles), persistent=False)
        self._middle = params.quantiles.index(0.5)

    def forward(self, batch: Batch) -> Tensor:
        """`(batch, 7, quantiles)`, scaled as the batch is, ascending in the last dimension."""
        return self._members(batch).mean(dim=0)

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

    def losses(self, batch: Batch) -> Sums:
        """`loss` is the mean pinball loss of the members; `quantile_error` and `absolute_error` are the ensemble's."""
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

    def _members(self, batch: Batch) -> Tensor:
        """`(members, batch, 7, quantiles)`"""
        return torch.stack([member(batch) for member in self.members])

    def _pinball(self, forecast: Tensor, targets: Tensor) -> Tensor:
        """Twice the pinball loss, averaged over the quantiles: `(…, 7, quantiles)`, `(batch, 7)` to `(…, 7)`.

        At the median alone it is the absolute error (Koenker and Bassett, "Regression Quantiles", 1978).
        """
        error = targets[..., None] - forecast
        return 2 * torch.maximum(self.quantiles * error, (self.quantiles - 1) * error).mean(dim=-1)


class Member(nn.Module):
    """One network: a recurrent stack reads the context, a head answers for each of the seven days.

    Beside the head, one linear map leads from the last two weeks straight to the seven days, so that the recurrent part
    learns only what a linear autoregression cannot (Lai et al., "Modeling Long- and Short-Term Temporal Patterns with
    Deep Neural Networks", 2018). It starts at zero: random weights take a short training long to unlearn.
    """

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        known = size(params.covariates)
        features = 1 + known
        convolutional = params.kind == "conv_gru"
        self.front: nn.Module = nn.Identity()
        if convolutional:
            self.front = CausalConvolution(features, params.channels, params.kernel_size)
        self.recurrent = RecurrentStack(
            params.channels if convolutional else features,
            params.hidden_size,
            layers=params.layers,
            cell=cast(Cell, "gru" if convolutional else params.kind),
            dropout=params.dropout,
            recurrent_dropout=params.recurrent_dropout,
            layer_norm=params.layer_norm,
            truncation=params.truncation,
        )
        self.autoregression = nn.Linear(MIN_HISTORY, HORIZON)
        nn.init.zeros_(self.autoregression.weight)
        nn.init.zeros_(self.autoregression.bias)
        self.head = Head(params.hidden_size, known, len(params.quantiles), dropout=params.dropout)
        self._middle = params.quantiles.index(0.5)

    def forward(self, batch: Batch) -> Tensor:
        """`(batch, 7, quantiles)`, scaled and ascending."""
        state = last_step(self.recurrent(self.front(batch.values), batch.lengths), batch.lengths)
        outputs = ascending(self.head(state, batch.context["future"]), self._middle)
        back = batch.lengths[:, None] - 1 - torch.arange(MIN_HISTORY, device=state.device)
        linear = self.autoregression(batch.values[..., 0].gather(1, back))
        return outputs + linear[..., None]


class Head(nn.Module):
    """From the state at the origin and what is known of each day ahead to `outputs` numbers a day.

    The first layer is the same for all days, the second is each day's own: a band widens with the days.
    """

    def __init__(self, hidden_size: int, known: int, outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(hidden_size + known, hidden_size)
        self.weight = nn.Parameter(torch.randn(HORIZON, hidden_size, outputs) / hidden_size**0.5)
        self.bias = nn.Parameter(torch.zeros(HORIZON, outputs))
        self.dropout = nn.Dropout(dropout)

    def forward(self, state: Tensor, future: Tensor) -> Tensor:
        """`(batch, hidden_size)` and `(batch, 7, known)` to `(batch, 7, outputs)`."""
        day = torch.cat([state[:, None].expand(-1, HORIZON, -1), future], dim=-1)
        hidden = self.dropout(functional.gelu(self.first(self.dropout(day))))
        return torch.einsum("bdh,dho->bdo", hidden, self.weight) + self.bias


class CausalConvolution(nn.Module):
    """A convolution over time that looks back only, so that what follows a sequence's end reaches none of its steps."""

    def __init__(self, features: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self._past = kernel_size - 1
        self.convolution = nn.Conv1d(features, channels, kernel_size)

    def forward(self, values: Tensor) -> Tensor:
        """`(batch, time, features)` to `(batch, time, channels)`."""
        padded = functional.pad(values.transpose(1, 2), (self._past, 0))
        return functional.gelu(self.convolution(padded)).transpose(1, 2)


def ascending(outputs: Tensor, middle: int) -> Tensor:
    """Free numbers as ascending ones `(…, n)`: the middle one as it is, from there positive steps to both sides."""
    centre = outputs[..., middle : middle + 1]
    up = functional.softplus(outputs[..., middle + 1 :]).cumsum(dim=-1)
    down = functional.softplus(outputs[..., :middle]).flip(-1).cumsum(dim=-1).flip(-1)
    return torch.cat([centre - down, centre, centre + up], dim=-1)

"""How a recurrent network gets from the context to seven days: at once, or each day from its own forecast of the day
before.

All end in `head(states, days)`, which turns states `(batch, some of the days, hidden_size)` into the days' forecasts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....models.batch import Batch
from ....models.recurrent import Cell, RecurrentStack, last_step
from ..data.series import HORIZON
from ..params import ModelParams
from .windows import FeatureEncoder

HeadOfDays = Callable[[Tensor, slice], Tensor]
_CELLS = {"conv_gru": "gru", "seq2seq": "gru"}  # of the others the kind is the cell


def build_decoder(params: ModelParams, features: FeatureEncoder) -> nn.Module:
    """The network up to the states, by `model.kind` and `model.decoding`."""
    encoder = Encoder(params, features.step_size)
    recursive = params.decoding == "recursive"
    if params.kind == "seq2seq":
        return Seq2SeqDecoder(encoder, params, features.day_size, recursive=recursive)
    return RecursiveDecoder(encoder, features, params.quantiles.index(0.5)) if recursive else DirectDecoder(encoder)


class Encoder(nn.Module):
    """Reads the context; its state is what it gives at the last day."""

    def __init__(self, params: ModelParams, step_size: int) -> None:
        super().__init__()
        convolutional = params.kind == "conv_gru"
        self.front: nn.Module = nn.Identity()
        if convolutional:
            self.front = CausalConvolution(step_size, params.channels, params.kernel_size)
        self.recurrent = RecurrentStack(
            params.channels if convolutional else step_size,
            params.hidden_size,
            layers=params.layers,
            cell=cast(Cell, _CELLS.get(params.kind, params.kind)),
            dropout=params.dropout,
            recurrent_dropout=params.recurrent_dropout,
            layer_norm=params.layer_norm,
            truncation=params.truncation,
        )

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, step_size)` to `(batch, hidden_size)`."""
        return last_step(self.recurrent(self.front(values), lengths), lengths)


class DirectDecoder(nn.Module):
    """All days are forecast from the state at the origin."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: Batch, head: HeadOfDays) -> Tensor:
        """`(batch, 7, …)`"""
        state = self.encoder(batch.values, batch.lengths)
        return head(state[:, None].expand(-1, HORIZON, -1), slice(0, HORIZON))


class RecursiveDecoder(nn.Module):
    """The network forecasts the next day alone; its median becomes the day's value, and it reads on.

    The context is read anew for each day, which takes seven times as long and needs nothing of the recurrent layers.
    """

    def __init__(self, encoder: Encoder, features: FeatureEncoder, middle: int) -> None:
        super().__init__()
        self.encoder = encoder
        self._features = features
        self._middle = middle

    def forward(self, batch: Batch, head: HeadOfDays) -> Tensor:
        """`(batch, 7, …)`"""
        values = functional.pad(batch.values, (0, 0, 0, HORIZON - 1))
        rows = torch.arange(len(values), device=values.device)
        forecasts = []
        for day in range(HORIZON):
            lengths = batch.lengths + day
            forecasts.append(head(self.encoder(values, lengths)[:, None], slice(day, day + 1)))
            if day < HORIZON - 1:
                median = forecasts[-1][:, 0, self._middle]
                values = values.index_put((rows, lengths), self._features.step(median, batch.context["future"][:, day]))
        return torch.cat(forecasts, dim=1)


class Seq2SeqDecoder(nn.Module):
    """A second recurrent stack steps through the seven days, from the encoder's state, with what is known of each day
    (Sutskever, Vinyals and Le, "Sequence to Sequence Learning with Neural Networks", 2014); where it is recursive, with
    its own median of the day before as well.
    """

    def __init__(self, encoder: Encoder, params: ModelParams, day_size: int, *, recursive: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self._recursive = recursive
        self._middle = params.quantiles.index(0.5)
        self.recurrent = nn.GRU(
            max(1, day_size + recursive),
            params.hidden_size,
            num_layers=params.layers,
            dropout=params.dropout if params.layers > 1 else 0.0,
            batch_first=True,
        )

    def forward(self, batch: Batch, head: HeadOfDays) -> Tensor:
        """`(batch, 7, …)`"""
        future = batch.context["future"]
        if not future.shape[-1] and not self._recursive:  # nothing is known of a day: it steps all the same
            future = future.new_zeros(*future.shape[:2], 1)
        start = self.encoder(batch.values, batch.lengths)
        state = start.expand(self.recurrent.num_layers, -1, -1).contiguous()  # each layer starts from the encoder's
        if not self._recursive:
            return head(self.recurrent(future, state)[0], slice(0, HORIZON))
        median = batch.values[..., 0].gather(1, batch.lengths[:, None] - 1)
        forecasts = []
        for day in range(HORIZON):
            step = torch.cat([median, future[:, day]], dim=-1)[:, None]
            output, state = self.recurrent(step, state)
            forecasts.append(head(output, slice(day, day + 1)))
            median = forecasts[-1][:, :, self._middle]
        return torch.cat(forecasts, dim=1)


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

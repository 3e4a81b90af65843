"""Stacks of recurrent layers over padded batches."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["lstm", "gru", "rnn"]
_CELLS: dict[Cell, type[nn.LSTM | nn.GRU | nn.RNN]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def reverse_sequences(values: Tensor, lengths: Tensor) -> Tensor:
    """Turn each sequence round within its own length; the padding stays where it is.

    `values` is `(batch, time, features)`, `lengths` `(batch,)`. Turning twice gives the input back.
    """
    time = torch.arange(values.shape[1], device=values.device)
    index = lengths[:, None] - 1 - time
    index = torch.where(index >= 0, index, time)
    return values.gather(1, index[:, :, None].expand_as(values))


class RecurrentStack(nn.Module):
    """Layers of LSTM, GRU or simple RNN, one or both directions, with dropout between the layers.

    The backward direction reads each sequence from its own end, so that adding padding changes no output. (cuDNN and
    PyTorch do that only for packed batches, which on two CPU cores are five times slower than padded buckets.)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        cell: Cell = "lstm",
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.output_size = hidden_size * (2 if bidirectional else 1)
        sizes = [input_size] + [self.output_size] * (layers - 1)
        make = _CELLS[cell]
        self.forward_layers = nn.ModuleList(make(size, hidden_size, batch_first=True) for size in sizes)
        self.backward_layers = nn.ModuleList(
            make(size, hidden_size, batch_first=True) for size in (sizes if bidirectional else [])
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, input_size)` to `(batch, time, output_size)`; what stands after a sequence's end is
        undefined.
        """
        for index, forward_layer in enumerate(self.forward_layers):
            if index:
                values = self.dropout(values)
            outputs = [forward_layer(values)[0]]
            if self.backward_layers:
                reversed_outputs = self.backward_layers[index](reverse_sequences(values, lengths))[0]
                outputs.append(reverse_sequences(reversed_outputs, lengths))
            values = torch.cat(outputs, dim=-1)
        return values


def last_step(values: Tensor, lengths: Tensor) -> Tensor:
    """The output at each sequence's last step: `(batch, time, features)` to `(batch, features)`."""
    return values[torch.arange(len(values), device=values.device), lengths - 1]

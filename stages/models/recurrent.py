"""Stacks of recurrent layers over padded batches."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

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
    PyTorch do that only for packed batches, which on a CPU are slower than padded buckets: docs/training-rnns.md.)

    `recurrent_dropout` drops numbers of the state on their way to the next step, the same ones at all steps (Gal and
    Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks", 2016). They draw a mask
    for each sequence; here a batch shares one, drawn anew for each layer, direction and call. Such a mask m can be laid
    on the weights instead of the state, (h ⊙ m) Wᵀ = h (W diag(m))ᵀ, so that the fused kernels stay.

    `layer_norm` normalises each layer's output over its features (Ba, Kiros and Hinton, "Layer Normalization", 2016).
    They normalise inside the cell, before the gates, which no fused kernel does.

    `truncation` cuts back-propagation through time (Williams and Peng, "An Efficient Gradient-Based Algorithm for
    On-Line Training of Recurrent Network Trajectories", 1990): in training, sequences are read in chunks of so many
    steps; the state is carried from one to the next, its gradient is not. 0 cuts nothing. It bounds how far a gradient
    travels, not the memory, since all chunks are kept until the one backward pass. Raises ValueError with two
    directions: the backward one would have its borders at other places in each sequence.
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
        recurrent_dropout: float = 0.0,
        layer_norm: bool = False,
        truncation: int = 0,
    ) -> None:
        super().__init__()
        if truncation and bidirectional:
            raise ValueError(f"truncation: found {truncation}; allowed in a bidirectional network: 0")
        self.output_size = hidden_size * (2 if bidirectional else 1)
        sizes = [input_size] + [self.output_size] * (layers - 1)
        make = _CELLS[cell]
        self.forward_layers = nn.ModuleList(make(size, hidden_size, batch_first=True) for size in sizes)
        self.backward_layers = nn.ModuleList(
            make(size, hidden_size, batch_first=True) for size in (sizes if bidirectional else [])
        )
        self.norms = nn.ModuleList(nn.LayerNorm(self.output_size) for _ in (sizes if layer_norm else []))
        self.dropout = nn.Dropout(dropout)
        self.recurrent_dropout = recurrent_dropout
        self.truncation = truncation

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, input_size)` to `(batch, time, output_size)`; what stands after a sequence's end is
        undefined.
        """
        for index, forward_layer in enumerate(self.forward_layers):
            if index:
                values = self.dropout(values)
            outputs = [self._read(forward_layer, values)]
            if self.backward_layers:
                reversed_outputs = self._read(self.backward_layers[index], reverse_sequences(values, lengths))
                outputs.append(reverse_sequences(reversed_outputs, lengths))
            values = torch.cat(outputs, dim=-1)
            if self.norms:
                values = self.norms[index](values)
        return values

    def _read(self, layer: nn.Module, values: Tensor) -> Tensor:
        """One layer in one direction: `(batch, time, features)` to `(batch, time, hidden_size)`."""
        weights: dict[str, Tensor] = {}
        if self.training and self.recurrent_dropout:
            weight = layer.get_parameter("weight_hh_l0")
            kept = functional.dropout(weight.new_ones(weight.shape[1]), self.recurrent_dropout)
            weights["weight_hh_l0"] = weight * kept
        if not (self.training and self.truncation):
            return (functional_call(layer, weights, (values,)) if weights else layer(values))[0]
        outputs, state = [], None
        for chunk in values.split(self.truncation, dim=1):
            output, state = functional_call(layer, weights, (chunk, state))
            outputs.append(output)
            state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return torch.cat(outputs, dim=1)


def last_step(values: Tensor, lengths: Tensor) -> Tensor:
    """The output at each sequence's last step: `(batch, time, features)` to `(batch, features)`."""
    return values[torch.arange(len(values), device=values.device), lengths - 1]

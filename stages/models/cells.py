"""Recurrent cells written from their equations, and the loop that unrolls them over a padded batch.

Networks use the fused kernels of `recurrent.py`, which compute the same several times faster. These are for reading,
for measuring (`benchmarks/training_rnns`), for checking the kernels, and for a decoder, whose input is known only step
by step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

State = tuple[Tensor, ...]  # each (batch, hidden); the first is the cell's output


class Weights(NamedTuple):
    """The weights of one layer, laid out as PyTorch does: the gates stand one below the other."""

    input: Tensor  # (gates · hidden, features)
    hidden: Tensor  # (gates · hidden, hidden)
    input_bias: Tensor  # (gates · hidden,)
    hidden_bias: Tensor  # (gates · hidden,)

    @classmethod
    def of(cls, layers: nn.RNNBase, index: int = 0) -> Weights:
        """A layer's weights, forward direction, of an `nn.LSTM`, `nn.GRU` or `nn.RNN`; shared, not copied."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return cls(*(layers.get_parameter(f"{name}_l{index}") for name in names))


RecurrentCell = Callable[[Tensor, State, Weights], State]


def rnn_cell(inputs: Tensor, state: State, weights: Weights) -> State:
    """One step of a simple RNN (Elman, "Finding Structure in Time", 1990).

    h' = tanh(W x + b + U h + c)

    `inputs` `(batch, features)`, `state` `(h,)` of `(batch, hidden)`; returns the state after the step.
    """
    (hidden,) = state
    return (torch.tanh(_from_input(inputs, weights) + _from_hidden(hidden, weights)),)


def lstm_cell(inputs: Tensor, state: State, weights: Weights) -> State:
    """One step of an LSTM (Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997) with the forget gate f of Gers,
    Schmidhuber and Cummins ("Learning to Forget", 2000), without peepholes.

    i, f, o = σ(W x + b + U h + c), each with its own weights;  g = tanh(W x + b + U h + c), with its own

    c' = f ⊙ c + i ⊙ g;  h' = o ⊙ tanh(c')

    The gates stand in the weights as i, f, g, o. `inputs` `(batch, features)`, `state` `(h, c)`, each `(batch,
    hidden)`; returns the state after the step.
    """
    return lstm_update(_from_input(inputs, weights), _from_hidden(state[0], weights), state)


def lstm_update(from_input: Tensor, from_hidden: Tensor, state: State) -> State:
    """The state after a step of `lstm_cell`, given W x + b and U h + c of all gates, each `(…, 4 · hidden)`."""
    write, keep, candidate, read = (from_input + from_hidden).chunk(4, dim=-1)
    memory = torch.sigmoid(keep) * state[1] + torch.sigmoid(write) * torch.tanh(candidate)
    return torch.sigmoid(read) * torch.tanh(memory), memory


def gru_cell(inputs: Tensor, state: State, weights: Weights) -> State:
    """One step of a GRU (Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder for Statistical Machine
    Translation", 2014), in the variant of cuDNN and PyTorch.

    r, z = σ(W x + b + U h + c), each with its own weights

    n = tanh(W x + b + r ⊙ (U h + c));  h' = (1 − z) ⊙ n + z ⊙ h

    The paper resets before the matrix, U (r ⊙ h); here the reset comes after it, so that one product serves all three
    gates. The gates stand in the weights as r, z, n. `inputs` `(batch, features)`, `state` `(h,)` of `(batch, hidden)`;
    returns the state after the step.
    """
    return gru_update(_from_input(inputs, weights), _from_hidden(state[0], weights), state)


def gru_update(from_input: Tensor, from_hidden: Tensor, state: State) -> State:
    """The state after a step of `gru_cell`, given W x + b and U h + c of all gates, each `(…, 3 · hidden)`."""
    (hidden,) = state
    input_reset, input_update, input_new = from_input.chunk(3, dim=-1)
    hidden_reset, hidden_update, hidden_new = from_hidden.chunk(3, dim=-1)
    reset, update = torch.sigmoid(input_reset + hidden_reset), torch.sigmoid(input_update + hidden_update)
    new = torch.tanh(input_new + reset * hidden_new)
    return ((1 - update) * new + update * hidden,)


def unroll(
    cell: RecurrentCell, values: Tensor, lengths: Tensor, state: State, weights: Weights
) -> tuple[Tensor, State]:
    """Run a cell over a padded batch, step by step; a sequence's state stands still after its end.

    `values` `(batch, time, features)`, `lengths` `(batch,)`, `state` tensors of `(batch, hidden)`; returns the outputs
    `(batch, time, hidden)`, which repeat the last one after a sequence's end, and each sequence's state at its end.

    The loop is dynamic; exported (`torch.export`) it becomes a static graph, which fits one number of steps alone.
    """
    outputs = []
    for time in range(values.shape[1]):
        running = (time < lengths)[:, None]
        after = cell(values[:, time], state, weights)
        state = tuple(torch.where(running, new, old) for new, old in zip(after, state, strict=True))
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


def _from_input(inputs: Tensor, weights: Weights) -> Tensor:
    return linear(inputs, weights.input, weights.input_bias)


def _from_hidden(hidden: Tensor, weights: Weights) -> Tensor:
    return linear(hidden, weights.hidden, weights.hidden_bias)

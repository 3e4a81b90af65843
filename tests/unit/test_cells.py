"""Cells from their equations against PyTorch's kernels, and what becomes of the loop when it is traced."""

import pytest
import torch
from torch import nn

from stages.models.cells import Weights, gru_cell, lstm_cell, rnn_cell, unroll

KINDS = [(rnn_cell, nn.RNN, 1), (gru_cell, nn.GRU, 1), (lstm_cell, nn.LSTM, 2)]
LENGTHS = torch.tensor([6, 4, 1])


def zeros(count: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.zeros(3, 5) for _ in range(count))


@pytest.mark.parametrize(("cell", "kernel", "parts"), KINDS)
def test_a_cell_equals_torchs_kernel_in_values_and_gradients(cell, kernel, parts):
    torch.manual_seed(0)
    layer = kernel(4, 5, batch_first=True)
    values = torch.randn(3, 6, 4, requires_grad=True)
    asked = torch.randn(3, 6, 5)
    ours, state = unroll(cell, values, torch.full((3,), 6), zeros(parts), Weights.of(layer))
    theirs, end = layer(values)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    for mine, yours in zip(state, end if parts == 2 else (end,), strict=True):
        torch.testing.assert_close(mine, yours[0], rtol=0, atol=1e-6)
    sources = [values, *layer.parameters()]
    for mine, yours in zip(
        torch.autograd.grad((ours * asked).sum(), sources),
        torch.autograd.grad((theirs * asked).sum(), sources),
        strict=True,
    ):
        torch.testing.assert_close(mine, yours, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cell", "kernel", "parts"), KINDS)
def test_the_state_stands_still_after_a_sequences_end(cell, kernel, parts):
    torch.manual_seed(0)
    layer = kernel(4, 5, batch_first=True)
    values = torch.randn(3, 6, 4)
    outputs, state = unroll(cell, values, LENGTHS, zeros(parts), Weights.of(layer))
    packed = nn.utils.rnn.pack_padded_sequence(values, LENGTHS, batch_first=True)
    end = layer(packed)[1]
    for mine, yours in zip(state, end if parts == 2 else (end,), strict=True):
        torch.testing.assert_close(mine, yours[0], rtol=0, atol=1e-6)
    for row, length in enumerate(LENGTHS.tolist()):
        assert (outputs[row, length:] == state[0][row]).all()


def test_one_step_of_a_gru_by_hand():
    # One number in, one in the state, h = 0.5, x = 1; the update gate's bias is so large that z = 1 keeps the state.
    weights = Weights(torch.zeros(3, 1), torch.zeros(3, 1), torch.tensor([0.0, 100.0, 0.0]), torch.zeros(3))
    assert gru_cell(torch.ones(1, 1), (torch.tensor([[0.5]]),), weights)[0].item() == 0.5
    # With z = 0 and r = σ(0) = 0.5 the state is new: tanh(1 · 1 + 0.5 · (2 · 0.5)).
    weights = Weights(
        torch.tensor([[0.0], [0.0], [1.0]]),
        torch.tensor([[0.0], [0.0], [2.0]]),
        torch.tensor([0.0, -100.0, 0.0]),
        torch.zeros(3),
    )
    found = gru_cell(torch.ones(1, 1), (torch.tensor([[0.5]]),), weights)[0]
    torch.testing.assert_close(found, torch.tanh(torch.tensor([[1.5]])))


class Loop(nn.Module):
    """The dynamic loop of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 5)

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return unroll(lstm_cell, values, lengths, zeros(2), Weights.of(self.layer))[0]


def test_static_unrolling_gives_the_same_numbers_and_takes_no_other_length():
    torch.manual_seed(0)
    dynamic = Loop()
    exported = torch.export.export(dynamic, (torch.randn(3, 6, 4), LENGTHS))
    assert sum("tanh" in str(node.target) for node in exported.graph.nodes) == 2 * 6  # the six steps, written out
    static, values = exported.module(), torch.randn(3, 6, 4)
    assert torch.equal(static(values, torch.tensor([2, 6, 5])), dynamic(values, torch.tensor([2, 6, 5])))
    for time in (5, 8):
        assert dynamic(torch.randn(3, time, 4), LENGTHS).shape == (3, time, 5)
        with pytest.raises(AssertionError, match="Guard failed: values"):
            static(torch.randn(3, time, 4), LENGTHS)

import pytest
import torch

from stages.models.pooling import masked_max, masked_mean
from stages.models.recurrent import RecurrentStack, last_step, reverse_sequences


def test_each_sequence_turns_round_within_its_own_length():
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])[:, :, None]
    turned = reverse_sequences(values, torch.tensor([3, 2]))
    assert turned[:, :, 0].tolist() == [[3.0, 2.0, 1.0], [5.0, 4.0, 0.0]]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_no_output(cell, bidirectional):
    torch.manual_seed(0)
    stack = RecurrentStack(3, 5, layers=2, cell=cell, bidirectional=bidirectional).eval()
    lengths = torch.tensor([4, 2])
    values = torch.randn(2, 4, 3)
    padded = torch.cat([values, torch.full((2, 6, 3), 7.0)], dim=1)
    short, long = stack(values, lengths), stack(padded, lengths)
    for index, length in enumerate(lengths):
        torch.testing.assert_close(short[index, :length], long[index, :length], rtol=0, atol=1e-6)


def test_two_directions_equal_torch_on_packed_sequences():
    torch.manual_seed(0)
    stack = RecurrentStack(3, 4, layers=2, cell="lstm", bidirectional=True).eval()
    reference = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    for layer in range(2):
        for ours, suffix in ((stack.forward_layers[layer], ""), (stack.backward_layers[layer], "_reverse")):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(reference, f"{name}_l{layer}{suffix}").data = getattr(ours, f"{name}_l0").data
    values, lengths = torch.randn(3, 6, 3), torch.tensor([6, 4, 1])
    packed = torch.nn.utils.rnn.pack_padded_sequence(values, lengths, batch_first=True)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
    found = stack(values, lengths)
    for index, length in enumerate(lengths):
        torch.testing.assert_close(found[index, :length], expected[index, :length], rtol=0, atol=1e-6)


def test_pooling_by_hand():
    values = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[True, True, False]])
    assert masked_mean(values, mask).tolist() == [[2.0]]
    assert masked_max(values, mask).tolist() == [[3.0]]
    assert last_step(values, torch.tensor([2])).tolist() == [[3.0]]

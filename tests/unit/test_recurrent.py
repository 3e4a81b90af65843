from pathlib import Path

import pytest
import torch

from stages.models.pooling import masked_max, masked_mean
from stages.models.recurrent import RecurrentStack, last_step, reverse_sequences
from stages.params import load
from stages.tasks.protocol import Task

PARAMS = load(Path(__file__).resolve().parents[2] / "params.yaml")
DATA = {
    "sketch": {"classes": ["a", "b"]},
    "video": {"classes": ["a", "b"], "decoding": {"channels": 1}},
    "translation": {"source_vocabulary_size": 12, "target_vocabulary_size": 9},
    "forecast": {},
}


def test_each_sequence_turns_round_within_its_own_length():
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])[:, :, None]
    turned = reverse_sequences(values, torch.tensor([3, 2]))
    assert turned[:, :, 0].tolist() == [[3.0, 2.0, 1.0], [5.0, 4.0, 0.0]]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_padding_changes_no_output(cell, bidirectional, layer_norm):
    torch.manual_seed(0)
    stack = RecurrentStack(3, 5, layers=2, cell=cell, bidirectional=bidirectional, layer_norm=layer_norm).eval()
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


def test_dropped_numbers_of_the_state_are_the_same_at_all_steps():
    torch.manual_seed(0)
    stack = RecurrentStack(1, 64, cell="rnn", recurrent_dropout=0.5)
    (layer,) = stack.forward_layers
    with torch.no_grad():
        layer.weight_ih_l0.fill_(1.0)
        layer.weight_hh_l0.copy_(0.1 * torch.eye(64))  # each number of the state feeds itself alone
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
        outputs = stack.train()(torch.ones(1, 4, 1), torch.tensor([4]))[0]
        kept = [torch.tanh(torch.tensor(1.0))]
        for _ in range(3):
            kept.append(torch.tanh(1.0 + 0.1 * 2.0 * kept[-1]))  # a number that is kept counts 1 / (1 − 0.5)
    dropped = torch.isclose(outputs, kept[0], rtol=0, atol=1e-6).all(dim=0)
    assert 16 < dropped.sum() < 48
    expected = torch.stack(kept)[:, None].expand(4, int((~dropped).sum()))
    torch.testing.assert_close(outputs[:, ~dropped], expected, rtol=0, atol=1e-6)


def test_each_call_layer_and_direction_drops_other_numbers():
    torch.manual_seed(0)
    stack = RecurrentStack(2, 32, cell="gru", bidirectional=True, recurrent_dropout=0.5).train()
    (there,), (back,) = stack.forward_layers, stack.backward_layers
    back.load_state_dict(there.state_dict())
    values, lengths = torch.ones(1, 6, 2), torch.tensor([6])
    first, second = stack(values, lengths), stack(values, lengths)
    assert not torch.equal(first, second)
    assert not torch.equal(first[..., :32], first[..., 32:].flip(1))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_recurrent_dropout_is_for_training_alone_and_lets_gradients_through(cell):
    torch.manual_seed(0)
    stack = RecurrentStack(3, 8, layers=2, cell=cell, bidirectional=True, recurrent_dropout=0.5)
    plain = RecurrentStack(3, 8, layers=2, cell=cell, bidirectional=True)
    plain.load_state_dict(stack.state_dict())
    before = {name: value.clone() for name, value in stack.state_dict().items()}
    values, lengths = torch.randn(2, 6, 3), torch.tensor([6, 4])
    assert torch.equal(stack.eval()(values, lengths), plain.eval()(values, lengths))
    outputs = stack.train()(values, lengths)
    assert not torch.allclose(outputs, plain.train()(values, lengths))
    outputs.sum().backward()
    for name, parameter in stack.named_parameters():
        assert parameter.grad is not None, name
        assert torch.equal(parameter, before[name]), name
    unused = (stack.forward_layers[0].weight_hh_l0.grad == 0).all(dim=0)  # the columns of numbers that were dropped
    assert 0 < unused.sum() < 8


@pytest.mark.parametrize("bidirectional", [False, True])
def test_layer_norm_gives_each_layer_mean_zero_and_variance_one(bidirectional):
    torch.manual_seed(0)
    stack = RecurrentStack(3, 32, layers=2, bidirectional=bidirectional, layer_norm=True)
    seen = []
    stack.forward_layers[1].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    seen.append(stack(torch.randn(2, 6, 3), torch.tensor([6, 4])))
    for values in seen:
        torch.testing.assert_close(values.mean(dim=-1), torch.zeros(2, 6), rtol=0, atol=1e-5)
        torch.testing.assert_close(values.var(dim=-1, correction=0), torch.ones(2, 6), rtol=0, atol=0.05)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_truncation_changes_no_value_and_stops_gradients_at_its_borders(cell):
    torch.manual_seed(0)
    stack = RecurrentStack(3, 8, layers=2, cell=cell, truncation=4).train()
    whole = RecurrentStack(3, 8, layers=2, cell=cell).train()
    whole.load_state_dict(stack.state_dict())
    values, lengths = torch.randn(2, 10, 3, requires_grad=True), torch.tensor([10, 10])
    outputs = stack(values, lengths)
    torch.testing.assert_close(outputs, whole(values, lengths), rtol=0, atol=1e-6)

    def reached(time: int) -> list[int]:
        """The steps of the input that the output at `time` sends a gradient to."""
        (gradient,) = torch.autograd.grad(outputs[:, time].sum(), values, retain_graph=True)
        return torch.nonzero(gradient.abs().sum(dim=(0, 2))).flatten().tolist()

    assert reached(9) == [8, 9]
    assert reached(7) == [4, 5, 6, 7]
    assert reached(4) == [4]


def test_truncation_without_an_end_in_sight_is_the_whole_sequence():
    torch.manual_seed(0)
    stack, whole = (RecurrentStack(3, 8, truncation=steps).train() for steps in (10, 0))
    whole.load_state_dict(stack.state_dict())
    values, lengths = torch.randn(2, 10, 3), torch.tensor([10, 7])
    for network in (stack, whole):
        network(values, lengths).sum().backward()
    for ours, theirs in zip(stack.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_two_directions_cannot_be_truncated():
    with pytest.raises(ValueError, match="truncation: found 5; allowed in a bidirectional network: 0"):
        RecurrentStack(3, 4, bidirectional=True, truncation=5)


def test_what_is_turned_off_adds_no_weights_and_draws_no_random_numbers():
    torch.manual_seed(0)
    stack = RecurrentStack(3, 4, layers=2, bidirectional=True).train()
    assert {name.split(".")[0] for name in stack.state_dict()} == {"forward_layers", "backward_layers"}
    before = torch.random.get_rng_state()
    stack(torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([5, 3]))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("task", DATA)
def test_a_tasks_params_reach_its_recurrent_layers(task):
    params = PARAMS[task].model
    changes = {"recurrent_dropout": 0.3, "layer_norm": True}
    if "truncation" in type(params).model_fields:
        changes["truncation"] = 5
    network = Task(task).model().build(params.model_copy(update=changes), DATA[task])
    stacks = [module for module in network.modules() if isinstance(module, RecurrentStack)]
    assert stacks
    for stack in stacks:
        assert stack.recurrent_dropout == 0.3
        assert len(stack.norms) == len(stack.forward_layers)
        assert stack.truncation == changes.get("truncation", 0)

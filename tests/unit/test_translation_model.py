"""The translator: padding changes nothing, one step at a time equals the whole at once, the loss is the one stated."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from stages.models.attention import Score
from stages.models.transformer import HeadedAttention
from stages.tasks.translation.data.tokenizer import END, PADDING, START
from stages.tasks.translation.model.network import make_batch
from tests.unit.translators import DATA, SOURCES, TARGETS, translator

pytestmark = pytest.mark.usefixtures("one_thread")

ATTENTIONS = ("none", *get_args(Score))
KINDS = [
    {"cell": cell, "encoder_layers": layers, "decoder_layers": layers, "attention": attention, "input_feeding": feeds}
    for cell in ("lstm", "gru")
    for layers in (1, 2)
    for attention in ATTENTIONS
    for feeds in (False, True)
    if attention != "none" or not feeds
] + [{"kind": "transformer", "encoder_layers": layers, "decoder_layers": layers} for layers in (1, 2)]
NAMES = ["-".join(str(value) for value in kind.values()) for kind in KINDS]


def test_targets_end_with_the_end_and_the_decoder_starts_with_the_start() -> None:
    batch = make_batch([np.array([5, 6]), np.array([7])], [np.array([4]), np.array([8, 4])])
    assert batch.targets is not None
    assert batch.targets.tolist() == [[4, END, PADDING], [8, 4, END]]
    assert batch.context["previous"].tolist() == [[START, 4, PADDING], [START, 8, 4]]
    assert batch.values.tolist() == [[5, 6], [7, PADDING]]


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_padding_changes_no_output(kind: dict[str, Any]) -> None:
    network = translator(**kind)
    together = network(make_batch(SOURCES, TARGETS))
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        alone = network(make_batch([source], [target]))[0]
        torch.testing.assert_close(together[row, : len(target) + 1], alone)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_step_by_step_the_decoder_says_what_it_says_at_once(kind: dict[str, Any]) -> None:
    network = translator(**kind)
    batch = make_batch(SOURCES, TARGETS)
    at_once = network(batch).log_softmax(dim=-1)
    memory, state = network.encode(batch.values, batch.lengths)
    for time in range(at_once.shape[1]):
        log_probabilities, state = network.step(batch.context["previous"][:, time : time + 1], state, memory)
        torch.testing.assert_close(log_probabilities[:, 0], at_once[:, time])


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_hypotheses_of_a_sentence_do_not_touch_each_other(kind: dict[str, Any]) -> None:
    network = translator(**kind)
    batch = make_batch(SOURCES, TARGETS)
    memory, state = network.encode(batch.values, batch.lengths)
    double = {name: value.repeat_interleave(2, dim=1) for name, value in state.items()}
    tokens = torch.tensor([[START, 5]]).expand(len(SOURCES), 2)
    both, after = network.step(tokens, double, memory)
    for hypothesis in (0, 1):
        one, one_after = network.step(tokens[:, hypothesis : hypothesis + 1], state, memory)
        torch.testing.assert_close(both[:, hypothesis : hypothesis + 1], one)
        for name in after:
            torch.testing.assert_close(after[name][:, hypothesis : hypothesis + 1], one_after[name])


def test_the_loss_is_the_cross_entropy_of_each_real_token() -> None:
    network = translator()
    batch = make_batch(SOURCES, TARGETS)
    logits = network(batch).log_softmax(dim=-1)
    expected, right, count = 0.0, 0, 0
    for row, target in enumerate(TARGETS):
        for time, token in enumerate([*target.tolist(), END]):
            expected -= logits[row, time, token].item()
            right += int(logits[row, time].argmax()) == token
            count += 1
    sums = network.losses(batch)
    assert sums["loss"][0].item() == pytest.approx(expected, rel=1e-5)
    assert sums["token_accuracy"][0].item() == right
    assert sums["loss"][1].item() == sums["token_accuracy"][1].item() == count


def test_label_smoothing_is_for_training_alone() -> None:
    network, plain = translator(label_smoothing=0.3), translator()
    batch = make_batch([np.array([5])], [np.array([6])])
    assert network.losses(batch)["loss"][0] == plain.losses(batch)["loss"][0]
    logits = plain(batch)[0]
    log = functional.log_softmax(logits, dim=-1)
    smoothed = -(0.7 * (log[0, 6] + log[1, END]) + 0.3 * log.mean(dim=-1).sum())
    network.train()
    assert network.losses(batch)["loss"][0].item() == pytest.approx(smoothed.item(), rel=1e-5)


def test_a_transformer_is_told_where_heads_do_not_divide_its_size() -> None:
    with pytest.raises(ValidationError, match="heads that divide hidden_size; heads is 3, hidden_size 10"):
        translator(kind="transformer", heads=3)


def test_attention_of_several_heads_is_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = HeadedAttention(6, 2), nn.MultiheadAttention(6, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.look_up.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.look_up.bias]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    values, memory = torch.randn(2, 3, 6), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    expected, weights = theirs(values, memory, memory, key_padding_mask=~mask)
    torch.testing.assert_close(ours(values, ours.keep(memory), mask.unsqueeze(1)), expected)
    torch.testing.assert_close(ours.weights(values, ours.keep(memory), mask.unsqueeze(1)), weights)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.get("attention") != "none"])
def test_attention_weights_sum_to_one_over_the_real_source(kind: dict[str, Any]) -> None:
    batch = make_batch(SOURCES, TARGETS)
    weights = translator(**kind).alignments(batch)
    assert weights.shape == (6, batch.context["previous"].shape[1], batch.values.shape[1])
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))
    assert (weights.masked_select(~batch.mask.unsqueeze(1).expand_as(weights)) == 0).all()


def test_without_attention_the_source_is_told_by_the_first_state_alone() -> None:
    network = translator(attention="none")
    batch = make_batch(SOURCES, TARGETS)
    memory, state = network.encode(batch.values, batch.lengths)
    assert set(memory) == {"mask"}
    assert (network.alignments(batch) == 0).all()
    tokens = batch.context["previous"][:, :1]
    shuffled = {name: value.flip(0) for name, value in memory.items()}
    torch.testing.assert_close(network.step(tokens, state, shuffled)[0], network.step(tokens, state, memory)[0])


def test_with_input_feeding_a_step_knows_where_the_step_before_looked() -> None:
    network = translator(input_feeding=True)
    batch = make_batch(SOURCES, TARGETS)
    memory, state = network.encode(batch.values, batch.lengths)
    assert (state["fed"] == 0).all()  # before the first step nothing has been looked at
    fed = {**state, "fed": torch.ones_like(state["fed"])}
    tokens = batch.context["previous"][:, :1]
    assert not torch.allclose(network.step(tokens, fed, memory)[0], network.step(tokens, state, memory)[0])


def test_input_feeding_without_attention_is_refused() -> None:
    with pytest.raises(ValidationError, match="an attention .* where input_feeding is true; attention is none"):
        translator(attention="none", input_feeding=True)


SHARED = {"source_vocabulary_size": 12, "target_vocabulary_size": 12, "shared_vocabulary": True}


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
@pytest.mark.parametrize("tied", ["none", "target", "all"])
def test_weights_can_be_saved_and_tied_ones_are_saved_once(tied: str, kind: str) -> None:
    network = translator(kind=kind, tied_embeddings=tied, data=SHARED)
    loaded = translator(seed=1, kind=kind, tied_embeddings=tied, data=SHARED)
    loaded.load_state_dict(load(save(network.state_dict())))
    batch = make_batch(SOURCES, TARGETS)
    assert torch.equal(loaded(batch), network(batch))
    matrices = {"source_embedding.weight", "target_embedding.weight", "output_weight"}
    kept = {
        "none": matrices,
        "target": matrices - {"output_weight"},
        "all": {"target_embedding.weight"},
    }
    assert matrices & set(network.state_dict()) == kept[tied]


def test_embeddings_of_two_vocabularies_cannot_all_be_tied() -> None:
    with pytest.raises(ValueError, match="tied_embeddings: found all; allowed where .*: none, target"):
        translator(tied_embeddings="all", data={**DATA, "shared_vocabulary": False})

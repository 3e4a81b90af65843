"""Attention: hand-worked weights, and padding that weighs nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stages.models.attention import Attention, Score

SCORES: tuple[Score, ...] = ("additive", "general", "dot")


def attend(attention: Attention, queries: Tensor, memory: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
    mask = torch.arange(memory.shape[1]) < torch.tensor(lengths)[:, None]
    return attention(queries, attention.keys(memory), memory, mask)


def test_dot_attention_is_a_softmax_over_inner_products() -> None:
    # q · k = 0 and ln 3: weights 1/4 and 3/4.
    memory = torch.tensor([[[0.0, 4.0], [math.log(3), 0.0]]])
    context, weights = attend(Attention(2, 2, score="dot"), torch.tensor([[[1.0, 0.0]]]), memory, [2])
    assert weights[0, 0].tolist() == pytest.approx([0.25, 0.75])
    assert context[0, 0].tolist() == pytest.approx([0.75 * math.log(3), 1.0])


def test_general_attention_compares_with_the_projected_memory() -> None:
    attention = Attention(2, 1, score="general")
    attention.project_memory.weight.data = torch.tensor([[2.0], [0.0]])  # k = 0 and ln 2: q · W k = 0 and 2 ln 2
    _, weights = attend(attention, torch.tensor([[[1.0, 9.0]]]), torch.tensor([[[0.0], [math.log(2)]]]), [2])
    assert weights[0, 0].tolist() == pytest.approx([0.2, 0.8])


def test_additive_attention_is_bahdanaus_formula() -> None:
    attention = Attention(1, 1, score="additive")
    attention.project_memory.weight.data.fill_(1.0)
    attention.project_query.weight.data.fill_(1.0)
    attention.project_query.bias.data.zero_()
    attention.combine.weight.data.fill_(2.0)
    _, weights = attend(attention, torch.tensor([[[0.5]]]), torch.tensor([[[-0.5], [0.5]]]), [2])
    second = math.exp(2 * math.tanh(1.0))  # the first score is 2 · tanh(0) = 0
    assert weights[0, 0].tolist() == pytest.approx([1 / (1 + second), second / (1 + second)])


@pytest.mark.parametrize("score", SCORES)
def test_padding_gets_no_weight_whatever_stands_there(score: Score) -> None:
    torch.manual_seed(0)
    attention = Attention(4, 4, score=score)
    queries, memory = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    context, weights = attend(attention, queries, memory, [5, 2])
    assert (weights[1, :, 2:] == 0).all()
    assert torch.allclose(weights.sum(dim=-1), torch.ones(2, 3))
    changed = memory.clone()
    changed[1, 2:] = 1e4
    torch.testing.assert_close(attend(attention, queries, changed, [5, 2])[0], context)
    torch.testing.assert_close(attend(attention, queries[1:], memory[1:, :2], [2])[0], context[1:])


@pytest.mark.parametrize("score", SCORES)
def test_each_query_is_answered_by_itself(score: Score) -> None:
    torch.manual_seed(0)
    attention = Attention(4, 4, score=score)
    queries, memory = torch.randn(1, 3, 4), torch.randn(1, 5, 4)
    together, _ = attend(attention, queries, memory, [5])
    for i in range(3):
        torch.testing.assert_close(attend(attention, queries[:, i : i + 1], memory, [5])[0], together[:, i : i + 1])


def test_dot_attention_refuses_unequal_sizes() -> None:
    with pytest.raises(ValueError, match="query size 4, memory size 6"):
        Attention(4, 6, score="dot")

"""Search over toy networks whose every probability is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from stages.models.search import Found, Memory, State, Vocabulary, beam_search, greedy_search

PADDING, START, END, A, B, C = range(6)
VOCABULARY = Vocabulary(start=START, end=END, forbidden=(PADDING, START))


def tables(*probabilities: dict[int, dict[int, float]]) -> Memory:
    """A sentence each: last token → next token → probability, the same at every step; `(sentences, 1, last, next)`."""
    table = torch.zeros(len(probabilities), 1, 6, 6)
    for sentence, rows in enumerate(probabilities):
        for last, following in rows.items():
            for token, probability in following.items():
                table[sentence, 0, last, token] = probability
    return {"log": table.log()}


def random_tables(sentences: int, steps: int, seed: int) -> Memory:
    """Random probabilities that also change from step to step: `(sentences, steps, last, next)`."""
    logits = 2.0 * torch.randn(sentences, steps, 6, 6, generator=torch.Generator().manual_seed(seed))
    return {"log": logits.log_softmax(dim=-1)}


def start_state(memory: Memory) -> State:
    return {"length": torch.zeros(len(memory["log"]), 1, dtype=torch.int64)}


def step(tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
    """The toy network: its memory is the table, its state the number of tokens read."""
    length = state["length"]
    assert length.shape == tokens.shape
    sentences = torch.arange(len(tokens))[:, None]
    return memory["log"][sentences, length.clamp(max=memory["log"].shape[1] - 1), tokens], {"length": length + 1}


def greedy(memory: Memory, max_length: int = 8) -> Found:
    return greedy_search(step, start_state(memory), memory, VOCABULARY, max_length=max_length)


def beam(memory: Memory, size: int, max_length: int = 8, length_penalty: float = 1.0) -> Found:
    return beam_search(
        step,
        start_state(memory),
        memory,
        VOCABULARY,
        beam_size=size,
        max_length=max_length,
        length_penalty=length_penalty,
    )


def sentence(found: Found, row: int, rank: int = 0) -> list[int]:
    return found.tokens[row, rank, : found.lengths[row, rank]].tolist()


# Greedy takes A (0.6) and then ends: 0.6 · 0.4 = 0.24. B ends at 0.4 · 0.9 = 0.36.
GARDEN_PATH = {
    START: {A: 0.6, B: 0.4},
    A: {END: 0.4, A: 0.3, B: 0.3},
    B: {END: 0.9, A: 0.1},
}


def test_greedy_takes_the_likeliest_token_and_scores_the_mean_log_probability() -> None:
    found = greedy(tables(GARDEN_PATH))
    assert sentence(found, 0) == [A]
    assert found.scores[0, 0].item() == pytest.approx(math.log(0.24) / 2)


def test_beam_of_two_finds_the_better_sentence_that_greedy_misses() -> None:
    found = beam(tables(GARDEN_PATH), 2)
    assert [sentence(found, 0, rank) for rank in (0, 1)] == [[B], [A]]
    assert found.scores[0].tolist() == pytest.approx([math.log(0.36) / 2, math.log(0.24) / 2])


def test_length_penalty_decides_between_short_and_long() -> None:
    # C and the end have probability 0.5; A, B and the end 0.5 · 0.8 · 1 = 0.4: less in sum, more a token.
    memory = tables({START: {A: 0.5, C: 0.5}, A: {END: 0.1, A: 0.1, B: 0.8}, B: {END: 1.0}, C: {END: 1.0}})
    by_sum, by_mean = beam(memory, 3, length_penalty=0.0), beam(memory, 3, length_penalty=1.0)
    assert sentence(by_sum, 0) == [C]
    assert by_sum.scores[0, 0].item() == pytest.approx(math.log(0.5))
    assert sentence(by_mean, 0) == [A, B]
    assert by_mean.scores[0, 0].item() == pytest.approx(math.log(0.4) / 3)


def test_no_answer_is_empty() -> None:
    memory = tables({START: {END: 0.9, A: 0.1}, A: {END: 1.0}})
    assert sentence(greedy(memory), 0) == [A]
    assert sentence(beam(memory, 3), 0) == [A]


@pytest.mark.parametrize("seed", range(5))
def test_beam_of_one_is_greedy_search(seed: int) -> None:
    memory = random_tables(20, 9, seed)
    one, other = beam(memory, 1), greedy(memory)
    assert [sentence(one, row) for row in range(20)] == [sentence(other, row) for row in range(20)]
    torch.testing.assert_close(one.scores, other.scores)


@pytest.mark.parametrize("seed", range(5))
def test_beam_never_scores_below_greedy(seed: int) -> None:
    memory = random_tables(200, 9, seed)
    for size in (2, 3, 5):
        assert (beam(memory, size).scores[:, 0] >= greedy(memory).scores[:, 0] - 1e-6).all()


def test_a_beam_that_holds_everything_finds_the_best_of_all_sentences() -> None:
    memory = random_tables(10, 4, seed=1)
    log = memory["log"]
    found = beam(memory, 60, max_length=3)  # 3 + 9 + 27 sentences of one to three of A, B, C
    for row in range(10):
        scores = {}
        for length in range(1, 4):
            for tokens in itertools.product((A, B, C), repeat=length):
                path = [START, *tokens, END]
                sums = sum(log[row, t, path[t], path[t + 1]].item() for t in range(length + 1))
                scores[tokens] = sums / (length + 1)
        best = max(scores, key=lambda tokens: scores[tokens])
        assert tuple(sentence(found, row)) == best
        assert found.scores[row, 0].item() == pytest.approx(scores[best], abs=1e-5)
        ranked = found.scores[row, :39]
        assert ranked.tolist() == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-5)
        assert found.scores[row, 39:].tolist() == [-math.inf] * 21


def test_a_sentence_gets_the_same_answer_alone_and_in_any_batch() -> None:
    memory = random_tables(16, 9, seed=3)
    together = beam(memory, 4)
    assert len({int(n) for n in together.lengths[:, 0]}) > 1  # sentences leave the batch at different steps
    for row in range(16):
        alone = beam({"log": memory["log"][row : row + 1]}, 4)
        for rank in range(4):
            assert sentence(alone, 0, rank) == sentence(together, row, rank)
        torch.testing.assert_close(alone.scores[0], together.scores[row])


def test_a_network_that_never_ends_is_made_to_end_at_the_bound() -> None:
    memory = tables({START: {A: 1.0}, A: {A: 0.99, END: 0.01}})
    expected = (3 * math.log(0.99) + math.log(0.01)) / 5  # A AAA end
    for found in (greedy(memory, max_length=4), beam(memory, 1, max_length=4)):
        assert sentence(found, 0) == [A] * 4
        assert found.scores[0, 0].item() == pytest.approx(expected, abs=1e-5)


def test_forbidden_tokens_are_never_part_of_an_answer() -> None:
    memory = tables({START: {PADDING: 0.5, START: 0.3, A: 0.2}, A: {PADDING: 0.6, END: 0.4}})
    for found in (greedy(memory), beam(memory, 1), beam(memory, 3)):
        assert sentence(found, 0) == [A]
        assert found.scores[0, 0].item() == pytest.approx(math.log(0.2 * 0.4) / 2)


def test_impossible_hypotheses_rank_last_and_keep_nobody_waiting() -> None:
    found = beam(tables({START: {A: 1.0}, A: {END: 1.0}}), 4)
    assert sentence(found, 0) == [A]
    assert found.scores[0].tolist() == [0.0, -math.inf, -math.inf, -math.inf]


def test_the_same_search_gives_the_same_bits() -> None:
    memory = random_tables(50, 9, seed=4)
    first, second = beam(memory, 5), beam(memory, 5)
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.scores, second.scores)

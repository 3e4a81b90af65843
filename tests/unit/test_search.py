"""Search over toy networks whose every probability is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from stages.models.search import Hypotheses, Memory, SpecialTokens, State, Step, beam_search, greedy_search, sample

PADDING, START, END, A, B, C = range(6)
SPECIAL = SpecialTokens(start=START, end=END, forbidden=(PADDING, START))


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


def greedy(memory: Memory, max_length: int = 8) -> Hypotheses:
    return greedy_search(step, start_state(memory), memory, SPECIAL, max_length=max_length)


def beam(
    memory: Memory,
    size: int,
    max_length: int = 8,
    length_penalty: float = 1.0,
    n_best: int | None = None,
    network: Step = step,
) -> Hypotheses:
    return beam_search(
        network,
        start_state(memory),
        memory,
        SPECIAL,
        beam_size=size,
        max_length=max_length,
        length_penalty=length_penalty,
        n_best=n_best,
    )


def sentence(found: Hypotheses, row: int, rank: int = 0) -> list[int]:
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


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("n_best", [1, 2, 5])
def test_stopping_early_changes_no_answer(n_best: int, length_penalty: float) -> None:
    memory = random_tables(300, 9, seed=6)
    whole = beam(memory, 5, length_penalty=length_penalty)
    early = beam(memory, 5, length_penalty=length_penalty, n_best=n_best)
    torch.testing.assert_close(early.scores, whole.scores[:, :n_best])
    for row in range(300):
        assert [sentence(early, row, rank) for rank in range(n_best)] == [
            sentence(whole, row, rank) for rank in range(n_best)
        ]


def test_a_sentence_whose_answer_is_final_leaves_the_batch() -> None:
    # A ends at once with 0.9; all others go on with less than that for as long as they may.
    memory = tables({START: {A: 0.9, B: 0.1}, A: {END: 1.0}, B: {B: 1.0}})
    lengths: list[int] = []

    def counted(tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        lengths.append(len(tokens))
        return step(tokens, state, memory)

    found = beam(memory, 3, max_length=50, length_penalty=0.0, n_best=1, network=counted)
    assert sentence(found, 0) == [A]
    assert len(lengths) == 2


def test_hypotheses_are_different_and_come_best_first() -> None:
    found = beam(random_tables(100, 9, seed=7), 5)
    assert (found.scores.diff(dim=1) <= 0).all()
    for row in range(100):
        assert len({tuple(sentence(found, row, rank)) for rank in range(5)}) == 5


@pytest.mark.parametrize(
    ("n_best", "length_penalty", "message"),
    [
        (6, 1.0, "n_best: found 6; allowed with a beam of 5: 1 to 5"),
        (1, -0.5, "length penalty: found -0.5; allowed: 0 or more"),
    ],
)
def test_what_beam_search_cannot_do_is_refused(n_best: int, length_penalty: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        beam(random_tables(1, 2, seed=0), 5, n_best=n_best, length_penalty=length_penalty)


def drawn(memory: Memory, draws: Tensor, temperature: float = 1.0) -> Hypotheses:
    return sample(step, start_state(memory), memory, SPECIAL, draws, temperature=temperature)


def random_draws(sentences: int, hypotheses: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(sentences, hypotheses, 8, generator=generator, dtype=torch.float64)


def test_sentences_are_drawn_as_often_as_they_are_likely() -> None:
    found = drawn(tables(GARDEN_PATH), random_draws(1, 20_000))
    shares = {A: 0.24, B: 0.36}  # of the sentences with one token
    for token, share in shares.items():
        count = sum(sentence(found, 0, rank) == [token] for rank in range(20_000))
        assert count / 20_000 == pytest.approx(share, abs=0.015)


def test_a_temperature_divides_the_logarithms() -> None:
    memory = tables({START: {A: 0.8, B: 0.2}, A: {END: 1.0}, B: {END: 1.0}})
    found = drawn(memory, random_draws(1, 20_000), temperature=0.5)
    share = sum(sentence(found, 0, rank) == [A] for rank in range(20_000)) / 20_000
    assert share == pytest.approx(0.8**2 / (0.8**2 + 0.2**2), abs=0.01)
    assert found.scores[0, 0].item() == pytest.approx(math.log(0.8) / 2)  # the network's own, whatever the temperature


def test_without_heat_sampling_is_greedy_search() -> None:
    memory = random_tables(50, 9, seed=8)
    cold, expected = drawn(memory, random_draws(50, 2), temperature=1e-4), greedy(memory)
    for row in range(50):
        assert sentence(cold, row, 0) == sentence(cold, row, 1) == sentence(expected, row)
    torch.testing.assert_close(cold.scores[:, :1], expected.scores)


def test_a_drawn_sentence_is_its_own_draws_alone_bounded_and_in_order() -> None:
    memory, draws = random_tables(30, 9, seed=9), random_draws(30, 3)
    together = drawn(memory, draws)
    assert (together.lengths <= 8).all()
    assert (together.lengths >= 1).all()
    assert (together.scores.diff(dim=1) <= 0).all()
    for row in range(30):
        alone = drawn({"log": memory["log"][row : row + 1]}, draws[row : row + 1])
        for rank in range(3):
            assert sentence(alone, 0, rank) == sentence(together, row, rank)


def test_a_draw_at_either_end_gives_a_token_that_may_stand() -> None:
    memory = tables({START: {PADDING: 0.5, A: 0.5}, A: {END: 0.5, START: 0.5}})
    for value in (0.0, 1.0 - 2.0**-53):
        assert sentence(drawn(memory, torch.full((1, 1, 8), value, dtype=torch.float64)), 0) == [A]


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature: found 0.0; allowed: above 0"):
        drawn(random_tables(1, 2, seed=0), random_draws(1, 1), temperature=0.0)

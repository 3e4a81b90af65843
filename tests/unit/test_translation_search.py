"""Translations by search and by sampling: the order, the scores, what a sentence gets in whatever company."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from stages.models.batch import pad
from stages.models.search import beam_search, greedy_search
from stages.tasks.translation.data.tokenizer import PADDING
from stages.tasks.translation.model.network import make_batch
from stages.tasks.translation.model.translate import VOCABULARY, sample, translate
from tests.unit.translators import FAMILIES, SOURCES, translator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("beam_size", [1, 4])
def test_translations_come_in_the_order_of_the_sources(beam_size: int) -> None:
    network = translator(seed=3)
    together = translate(network, SOURCES, beam_size=beam_size, max_length=6, batch_size=4)
    for source, (answer,) in zip(SOURCES, together, strict=True):
        ((alone,),) = translate(network, [source], beam_size=beam_size, max_length=6, batch_size=1)
        assert alone.tokens == answer.tokens
        assert alone.score == pytest.approx(answer.score, abs=1e-5)
        assert len(answer.tokens) <= 6
        assert answer.score < 0


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_beam_is_never_below_greedy_search_and_one_of_a_single_hypothesis_is_it(kind: dict[str, Any]) -> None:
    network = translator(seed=5, decoder_layers=2, **kind)
    with torch.inference_mode():
        memory, state = network.encode(*pad(SOURCES))
        (greedy, one, four) = (
            greedy_search(network.step, state, memory, VOCABULARY, max_length=6),
            beam_search(network.step, state, memory, VOCABULARY, beam_size=1, max_length=6),
            beam_search(network.step, state, memory, VOCABULARY, beam_size=4, max_length=6),
        )
    assert torch.equal(one.scores, greedy.scores)
    assert torch.equal(one.tokens[..., : greedy.tokens.shape[-1]], greedy.tokens)
    assert (four.scores[:, 0] >= greedy.scores[:, 0] - 1e-6).all()


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_wide_beam_finds_the_best_of_all_sentences(kind: dict[str, Any]) -> None:
    network = translator(seed=5, **kind)
    words = range(4, 9)
    every = [list(tokens) for length in (1, 2) for tokens in itertools.product(words, repeat=length)]
    found = translate(network, SOURCES[:2], beam_size=30, max_length=2, batch_size=2, n_best=30)
    for source, answers in zip(SOURCES[:2], found, strict=True):
        batch = make_batch([source] * len(every), [np.array(tokens) for tokens in every])
        assert batch.targets is not None
        log_probabilities = network(batch).log_softmax(dim=-1).gather(2, batch.targets.unsqueeze(2)).squeeze(2)
        real = batch.targets != PADDING
        means = (log_probabilities * real).sum(dim=1) / real.sum(dim=1)
        scores = dict(zip(map(tuple, every), means.tolist(), strict=True))
        assert len(answers) == len({tuple(answer.tokens) for answer in answers}) == 30
        assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)
        assert answers[0].score == pytest.approx(max(scores.values()), abs=1e-5)
        for answer in answers:
            assert answer.score == pytest.approx(scores[tuple(answer.tokens)], abs=1e-5)


def test_more_translations_than_hypotheses_are_refused() -> None:
    with pytest.raises(ValueError, match="n_best: found 2; allowed with a beam_size of 1: 1 to 1"):
        translate(translator(), SOURCES, beam_size=1, max_length=6, batch_size=4, n_best=2)


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_drawn_for_a_source_depends_on_seed_and_source_alone(kind: dict[str, Any]) -> None:
    network = translator(seed=5, **kind)
    options: dict[str, Any] = {"samples": 3, "temperature": 1.0, "max_length": 6}

    def tokens(sources: list[np.ndarray], seed: int, batch_size: int) -> list[list[list[int]]]:
        found = sample(network, sources, seed=seed, batch_size=batch_size, **options)
        return [[answer.tokens for answer in answers] for answers in found]

    together = tokens(SOURCES, 1, 4)
    assert tokens(SOURCES[::-1], 1, 1)[::-1] == together
    assert tokens(SOURCES, 2, 4) != together
    assert together[0][0] != together[0][1] or together[0][1] != together[0][2]


def test_a_translation_s_score_is_the_mean_log_probability_that_training_would_see() -> None:
    network = translator(seed=3)
    ((answer,),) = translate(network, SOURCES[:1], beam_size=3, max_length=6, batch_size=1)
    batch = make_batch(SOURCES[:1], [np.array(answer.tokens, dtype=np.int64)])
    loss, tokens = network.losses(batch)["loss"]
    assert answer.score == pytest.approx(-(loss / tokens).item(), abs=1e-5)

"""Many sources to their translations, by search or by sampling. Travels inside a registered model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch

from ....models import search
from ....models.batch import by_length, pad
from ....models.counter_rng import uniform
from ....models.search import Hypotheses, Memory, SpecialTokens, State, beam_search, greedy_search
from ..data.tokenizer import END, PADDING, START, UNKNOWN
from .translator import Translator

VOCABULARY = SpecialTokens(start=START, end=END, forbidden=(PADDING, UNKNOWN, START))


@dataclass(frozen=True, slots=True)
class Translation:
    """A hypothesis of a sentence."""

    tokens: list[int]  # without start and end
    score: float  # sum of its log-probabilities, the end included, in nats, over its length to the length penalty; <= 0


def translate(
    network: Translator,
    sources: Sequence[np.ndarray],
    *,
    beam_size: int,
    max_length: int,
    batch_size: int,
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> list[list[Translation]]:
    """Up to `n_best` different translations of each source `(time,)`, best first, in the sources' order; `beam_size` 1
    searches greedily. There are fewer where the network knows no more.

    With a length penalty of 1 a score is the mean log-probability of a token. A source's answer does not depend on the
    sources it is translated with, up to rounding. The network must be in evaluation mode.
    """

    def search_batch(examples: np.ndarray, memory: Memory, state: State) -> Hypotheses:
        if beam_size == 1:
            return greedy_search(
                network.step, state, memory, VOCABULARY, max_length=max_length, length_penalty=length_penalty
            )
        return beam_search(
            network.step,
            state,
            memory,
            VOCABULARY,
            beam_size=beam_size,
            max_length=max_length,
            length_penalty=length_penalty,
            n_best=n_best,
        )

    if not 1 <= n_best <= beam_size:
        raise ValueError(f"n_best: found {n_best}; allowed with a beam_size of {beam_size}: 1 to {beam_size}")
    return _translate_in_batches(network, sources, batch_size, search_batch)


def sample(
    network: Translator,
    sources: Sequence[np.ndarray],
    *,
    samples: int,
    temperature: float,
    seed: int,
    max_length: int,
    batch_size: int,
) -> list[list[Translation]]:
    """`samples` translations of each source `(time,)`, drawn at a temperature, the likeliest first, in the sources'
    order.

    What is drawn is a function of the seed, the source's tokens and the sample's number: a source gets the same
    translations wherever and with whatever it stands. Raises ValueError for a temperature that is not above 0.
    """

    def search_batch(examples: np.ndarray, memory: Memory, state: State) -> Hypotheses:
        keys = np.array([_key(sources[example]) for example in examples], dtype=np.uint64)
        draws = np.stack([uniform(seed, number, keys, max_length) for number in range(samples)], axis=1)
        where = next(network.parameters()).device
        return search.sample(
            network.step, state, memory, VOCABULARY, torch.from_numpy(draws).to(where), temperature=temperature
        )

    return _translate_in_batches(network, sources, batch_size, search_batch)


def _translate_in_batches(
    network: Translator,
    sources: Sequence[np.ndarray],
    batch_size: int,
    search_batch: Callable[[np.ndarray, Memory, State], Hypotheses],
) -> list[list[Translation]]:
    by_example: dict[int, list[Translation]] = {}
    lengths = np.array([len(source) for source in sources])
    device = next(network.parameters()).device
    with torch.inference_mode():
        for examples in by_length(lengths, batch_size):
            values, steps = pad([sources[example] for example in examples], dtype=np.int64)
            memory, state = network.encode(values.to(device), steps.to(device))
            translations = _translations(search_batch(examples, memory, state))
            by_example.update(zip(examples.tolist(), translations, strict=True))
    return [by_example[example] for example in range(len(sources))]


def _translations(found: Hypotheses) -> list[list[Translation]]:
    rows = zip(found.tokens.tolist(), found.lengths.tolist(), found.scores.tolist(), strict=True)
    return [
        [
            Translation(tokens[:length], score)
            for tokens, length, score in zip(*row, strict=True)
            if score > -np.inf  # what only fills a place
        ]
        for row in rows
    ]


def _key(source: np.ndarray) -> int:
    return int.from_bytes(blake2b(source.astype("<i8").tobytes(), digest_size=8).digest())

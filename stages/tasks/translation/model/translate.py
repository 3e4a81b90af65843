"""Many sources to their translations by beam search. Travels inside a registered model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ....batching import by_length, pad
from ....models.search import Found, Vocabulary, beam_search, greedy_search
from ..prepare.tokenizer import END, PADDING, START, UNKNOWN
from .network import Translator

VOCABULARY = Vocabulary(start=START, end=END, forbidden=(PADDING, UNKNOWN, START))


@dataclass(frozen=True, slots=True)
class Translation:
    """The best hypothesis of a sentence."""

    tokens: list[int]  # without start and end
    score: float  # mean log-probability of a token, the end included, in nats; at most 0


def translate(
    network: Translator, sources: Sequence[np.ndarray], *, beam_size: int, max_length: int, batch_size: int
) -> list[Translation]:
    """The translation of each source `(time,)`, in their order; `beam_size` 1 searches greedily.

    A source's answer does not depend on the sources it is translated with, up to rounding. The network must be in
    evaluation mode.
    """
    answers: list[Translation | None] = [None] * len(sources)
    lengths = np.array([len(source) for source in sources])
    device = next(network.parameters()).device
    with torch.inference_mode():
        for examples in by_length(lengths, batch_size):
            values, steps = pad([sources[e] for e in examples], dtype=np.int64)
            found = _search(network, values.to(device), steps.to(device), beam_size, max_length)
            for example, answer in zip(examples, _best(found), strict=True):
                answers[example] = answer
    return [answer for answer in answers if answer is not None]


def _search(network: Translator, values: torch.Tensor, steps: torch.Tensor, beam_size: int, max_length: int) -> Found:
    memory, state = network.encode(values, steps)
    if beam_size == 1:
        return greedy_search(network.step, state, memory, VOCABULARY, max_length=max_length)
    return beam_search(network.step, state, memory, VOCABULARY, beam_size=beam_size, max_length=max_length)


def _best(found: Found) -> Iterable[Translation]:
    rows = zip(found.tokens[:, 0].tolist(), found.lengths[:, 0].tolist(), found.scores[:, 0].tolist(), strict=True)
    return (Translation(tokens[:length], score) for tokens, length, score in rows)

"""Greedy search, beam search and sampling with any network that gives next-token probabilities, batched over sentences
and hypotheses.

The network is a `Step`. What it carries from step to step is its state; what stays the same for a sentence is its
memory, which all hypotheses of the sentence share and which is therefore never copied or reordered.

A hypothesis ends with the end token, though never with nothing before it. One that has `max_length` tokens may do
nothing else, so that every hypothesis ends and its score counts its end. The score is the sum of the log-probabilities
over the length, end token included, to the power of `length_penalty`: 1 gives the mean a token, 0 the sum, which
prefers short ones (Wu et al., "Google's Neural Machine Translation System", 2016, section 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

State = Mapping[str, Tensor]  # every tensor (sentences, hypotheses, …)
Memory = Mapping[str, Tensor]  # every tensor (sentences, …)


class Step(Protocol):
    """One step of a decoder."""

    def __call__(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """Read the last tokens `(sentences, hypotheses)`; give log-probabilities of the next ones `(sentences,
        hypotheses, vocabulary)` and the new state.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The tokens that search itself must know."""

    start: int
    end: int
    forbidden: Sequence[int]  # never part of an answer, such as padding


@dataclass(frozen=True, slots=True)
class Found:
    """The hypotheses of each sentence, best first."""

    tokens: Tensor  # (sentences, hypotheses, time) int64, without start and end; after its length, a row means nothing
    lengths: Tensor  # (sentences, hypotheses) int64, without the end
    scores: Tensor  # (sentences, hypotheses); -inf where there were not as many hypotheses


def greedy_search(
    step: Step,
    state: State,
    memory: Memory,
    vocabulary: Vocabulary,
    *,
    max_length: int,
    length_penalty: float = 1.0,
) -> Found:
    """The likeliest token at each step, until every sentence has ended. `state` has one hypothesis a sentence."""

    def likeliest(allowed: Tensor, length: int) -> Tensor:
        return allowed.max(dim=-1).indices

    return _token_by_token(
        step, state, memory, vocabulary, likeliest, hypotheses=1, max_length=max_length, length_penalty=length_penalty
    )


def beam_search(
    step: Step,
    state: State,
    memory: Memory,
    vocabulary: Vocabulary,
    *,
    beam_size: int,
    max_length: int,
    length_penalty: float = 1.0,
    best: int | None = None,
) -> Found:
    """Keep the `beam_size` best hypotheses of each sentence until the `best` of them (all, where nothing is said) are
    certain; those are what is found.

    Hypotheses that have ended stay and compete by score with those that go on. The greedy one is never dropped, so that
    the best score is at least that of greedy search, and a beam of 1 is greedy search. `state` has one hypothesis a
    sentence.

    A sentence leaves the batch as soon as its answer can no longer change, with the answer that it would have at the
    end. With s the sum of a hypothesis that goes on, any continuation has a sum s' ≤ s ≤ 0, since no log-probability
    is above 0, and a length n ≤ `max_length` + 1, so its score s' / n^p is at most s / (`max_length` + 1)^p, for a
    length penalty p ≥ 0. Where `best` hypotheses have ended with scores above that bound of all that go on, no other
    one comes before them, and none of them is dropped. For p = 0 this is as early as can be; for p = 1 the bound is
    weak, and it is mostly the last hypotheses that end soon after each other.

    Raises ValueError for a length penalty below 0, and for `best` not within 1 and `beam_size`.
    """
    best = beam_size if best is None else best
    if length_penalty < 0:
        raise ValueError(f"length penalty: found {length_penalty}; allowed: 0 or more")
    if not 1 <= best <= beam_size:
        raise ValueError(f"best: found {best}; allowed with a beam of {beam_size}: 1 to {beam_size}")
    first = next(iter(state.values()))
    sentences, device = first.shape[0], first.device
    beam = _Beam.start(sentences, max_length, device)
    waiting = torch.arange(sentences, device=device)  # the sentences in the batch
    result = Found(
        torch.zeros((sentences, best, max_length + 1), dtype=torch.int64, device=device),
        torch.zeros((sentences, best), dtype=torch.int64, device=device),
        torch.full((sentences, best), -torch.inf, device=device),
    )
    tokens = torch.full((sentences, 1), vocabulary.start, device=device)
    for length in range(max_length + 1):
        log_probabilities, state = step(tokens, state, memory)
        allowed = _allowed(log_probabilities, vocabulary, length, max_length)
        beam, parents, tokens = beam.advanced(allowed, beam_size, length, vocabulary.end, length_penalty)
        rows = torch.arange(len(tokens), device=device)[:, None]
        state = {name: value[rows, parents] for name, value in state.items()}
        done = beam.certain(best, max_length + 1, length_penalty)
        if done.any():
            _write(result, waiting[done], beam.select(done), length_penalty)
            go_on = ~done
            waiting, tokens, beam = waiting[go_on], tokens[go_on], beam.select(go_on)
            state = {name: value[go_on] for name, value in state.items()}
            memory = {name: value[go_on] for name, value in memory.items()}
            if not len(waiting):
                break
    return result


def sample(
    step: Step,
    state: State,
    memory: Memory,
    vocabulary: Vocabulary,
    draws: Tensor,
    *,
    temperature: float,
    length_penalty: float = 1.0,
) -> Found:
    """Hypotheses drawn token by token, each by itself, as the network's probabilities say.

    `draws` `(sentences, hypotheses, max_length)` float64 are random numbers in [0, 1): what is found is a function of
    them, and a hypothesis one of its own. `temperature` divides the logarithms before a token is drawn; towards 0
    it becomes greedy search. Scores are the network's, whatever the temperature; the best one comes first, and two may
    be alike. `state` has one hypothesis a sentence.

    Raises ValueError for a temperature that is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: found {temperature}; allowed: above 0")
    _, hypotheses, max_length = draws.shape

    def drawn(allowed: Tensor, length: int) -> Tensor:
        # At the bound only the end is allowed, which no draw decides.
        return allowed.argmax(dim=-1) if length == max_length else _drawn(allowed, draws[..., length], temperature)

    return _token_by_token(
        step,
        {name: value.repeat_interleave(hypotheses, dim=1) for name, value in state.items()},
        memory,
        vocabulary,
        drawn,
        hypotheses=hypotheses,
        max_length=max_length,
        length_penalty=length_penalty,
    )


def _token_by_token(
    step: Step,
    state: State,
    memory: Memory,
    vocabulary: Vocabulary,
    choose: Callable[[Tensor, int], Tensor],
    *,
    hypotheses: int,
    max_length: int,
    length_penalty: float,
) -> Found:
    """Hypotheses that each go their own way. `choose` takes the log-probabilities of all tokens, -inf where one may not
    stand, and how many tokens come before; it gives the next ones, `(sentences, hypotheses)`.
    """
    first = next(iter(state.values()))
    tokens = torch.full((len(first), hypotheses), vocabulary.start, device=first.device)
    sums = torch.zeros(tokens.shape, device=first.device)
    lengths = torch.zeros_like(tokens)
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    history: list[Tensor] = []
    for length in range(max_length + 1):
        log_probabilities, state = step(tokens, state, memory)
        chosen = choose(_allowed(log_probabilities, vocabulary, length, max_length), length)
        tokens = torch.where(ended, vocabulary.end, chosen)
        sums = torch.where(ended, sums, sums + log_probabilities.gather(2, tokens.unsqueeze(2)).squeeze(2))
        lengths += ~ended
        ended = ended | (tokens == vocabulary.end)
        history.append(tokens)
        if ended.all():
            break
    scores, order = (sums / lengths**length_penalty).sort(dim=1, descending=True, stable=True)
    rows = torch.arange(len(first), device=first.device)[:, None]
    return Found(torch.stack(history, dim=2)[rows, order], (lengths - 1)[rows, order], scores)


def _drawn(allowed: Tensor, draws: Tensor, temperature: float) -> Tensor:
    """A token for each random number `(sentences, hypotheses)`: the first at which the running sum of probabilities is
    above it. In float64, so that rare tokens of a large vocabulary keep their share.
    """
    running = (allowed.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    whole = running[..., -1:]
    below = torch.minimum(draws.unsqueeze(-1) * whole, torch.nextafter(whole, torch.zeros_like(whole)))
    return torch.searchsorted(running, below, right=True).squeeze(-1)


def _allowed(log_probabilities: Tensor, vocabulary: Vocabulary, length: int, max_length: int) -> Tensor:
    """The log-probabilities, -inf where a token may not stand: forbidden ones, the end at first, all else at last."""
    allowed = log_probabilities.clone()
    if length == max_length:
        allowed.fill_(-torch.inf)
        allowed[..., vocabulary.end] = log_probabilities[..., vocabulary.end]
    else:
        allowed[..., [*vocabulary.forbidden, *([vocabulary.end] if length == 0 else [])]] = -torch.inf
    return allowed


@dataclass(frozen=True, slots=True)
class _Beam:
    """The hypotheses of each sentence in the batch; the first of each is the greedy one."""

    tokens: Tensor  # (sentences, hypotheses, max_length + 1)
    sums: Tensor  # (sentences, hypotheses) log-probabilities
    lengths: Tensor  # (sentences, hypotheses) with the end token
    ended: Tensor  # (sentences, hypotheses)

    @staticmethod
    def start(sentences: int, max_length: int, device: torch.device) -> _Beam:
        shape = (sentences, 1)
        return _Beam(
            torch.zeros((*shape, max_length + 1), dtype=torch.int64, device=device),
            torch.zeros(shape, device=device),
            torch.zeros(shape, dtype=torch.int64, device=device),
            torch.zeros(shape, dtype=torch.bool, device=device),
        )

    def advanced(
        self, allowed: Tensor, size: int, step: int, end: int, length_penalty: float
    ) -> tuple[_Beam, Tensor, Tensor]:
        """The beam after one more token: the greedy hypothesis, then the best others, `size` at the most.

        `allowed` `(sentences, hypotheses, vocabulary)` are log-probabilities. Also gives, for each new hypothesis, the
        one that it goes on from and its token, both `(sentences, hypotheses)`.
        """
        # No hypothesis has more than `size` of its own continuations in the new beam, so the rest is left out first.
        candidates = allowed.topk(min(size, allowed.shape[-1]), dim=-1)
        stay = torch.full_like(candidates.values[:1, :1], -torch.inf)
        stay[..., 0] = 0.0  # one that has ended can only stay, as if by another end
        ended = self.ended.unsqueeze(-1)
        sums = (self.sums.unsqueeze(-1) + torch.where(ended, stay, candidates.values)).flatten(1)
        tokens = torch.where(ended, end, candidates.indices).flatten(1)
        lengths = self.lengths + ~self.ended
        scores = sums / lengths.repeat_interleave(stay.shape[-1], dim=1) ** length_penalty
        greedy = torch.zeros_like(tokens[:, :1])  # the likeliest continuation of hypothesis 0
        others = scores.scatter(1, greedy, -torch.inf).topk(min(size, scores.shape[1]) - 1, dim=1)
        chosen = torch.cat([greedy, others.indices], dim=1)
        parents, tokens = chosen // stay.shape[-1], tokens.gather(1, chosen)

        rows = torch.arange(len(allowed), device=allowed.device)[:, None]
        kept_sums = sums.gather(1, chosen)
        # What has probability 0 only fills a place, be it with the greedy one again: it ends here and ranks last.
        kept_sums[:, 1:].masked_fill_(others.values == -torch.inf, -torch.inf)
        history = self.tokens[rows, parents]
        history[:, :, step] = tokens
        over = self.ended[rows, parents] | (tokens == end) | (kept_sums == -torch.inf)
        return _Beam(history, kept_sums, lengths[rows, parents], over), parents, tokens

    def certain(self, best: int, longest: int, length_penalty: float) -> Tensor:
        """Whether the `best` hypotheses of each sentence can no longer change, `(sentences,)`; see `beam_search`."""
        ended = (self.sums / self.lengths**length_penalty).masked_fill(~self.ended, -torch.inf)
        bounds = (self.sums / longest**length_penalty).masked_fill(self.ended, -torch.inf)
        all_ended = self.ended.all(dim=1)
        if best > ended.shape[1]:
            return all_ended
        return all_ended | (ended.topk(best, dim=1).values[:, -1] > bounds.amax(dim=1))

    def select(self, chosen: Tensor) -> _Beam:
        return _Beam(self.tokens[chosen], self.sums[chosen], self.lengths[chosen], self.ended[chosen])


def _write(result: Found, sentences: Tensor, beam: _Beam, length_penalty: float) -> None:
    """Put the hypotheses of sentences that are done into the result, best first; of equal ones the greedy one."""
    ended = (beam.sums / beam.lengths**length_penalty).masked_fill(~beam.ended, -torch.inf)
    scores, order = ended.sort(dim=1, descending=True, stable=True)
    width = min(scores.shape[1], result.scores.shape[1])
    scores, order = scores[:, :width], order[:, :width]
    rows = torch.arange(len(sentences), device=sentences.device)[:, None]
    result.scores[sentences, :width] = scores
    result.lengths[sentences, :width] = beam.lengths[rows, order] - 1
    result.tokens[sentences, :width] = beam.tokens[rows, order]

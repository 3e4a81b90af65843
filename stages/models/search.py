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
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

State = Mapping[str, Tensor]  # every tensor (sentences, hypotheses, …)
Memory = Mapping[str, Tensor]  # every tensor (sentences, …)


class Step(Protocol):
    """One step of a decoder."""

    def __call__(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """The last tokens `(sentences, hypotheses)` to log-probabilities of the next ones `(sentences, hypotheses,
        vocabulary)`, and the new state.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """The tokens that mean something to the search itself."""

    start: int
    end: int
    forbidden: Sequence[int]  # never part of a hypothesis, such as padding


class Hypotheses(NamedTuple):
    """The hypotheses of each sentence, best first."""

    tokens: Tensor  # (sentences, hypotheses, time) int64, without start and end; after its length, a row means nothing
    lengths: Tensor  # (sentences, hypotheses) int64, without the end
    scores: Tensor  # (sentences, hypotheses); -inf where there were not as many hypotheses


def greedy_search(
    step: Step,
    state: State,
    memory: Memory,
    special: SpecialTokens,
    *,
    max_length: int,
    length_penalty: float = 1.0,
) -> Hypotheses:
    """The likeliest token at each step, until every sentence has ended. `state` has one hypothesis a sentence."""

    def likeliest(allowed: Tensor, length: int) -> Tensor:
        return allowed.max(dim=-1).indices

    return _token_by_token(
        step, state, memory, special, likeliest, hypotheses=1, max_length=max_length, length_penalty=length_penalty
    )


def beam_search(
    step: Step,
    state: State,
    memory: Memory,
    special: SpecialTokens,
    *,
    beam_size: int,
    max_length: int,
    length_penalty: float = 1.0,
    n_best: int | None = None,
) -> Hypotheses:
    """The `n_best` (by default all) of the `beam_size` best hypotheses of each sentence.

    Hypotheses that have ended stay and compete by score with those that go on. The greedy one is never dropped, so that
    the best score is at least that of greedy search, and a beam of 1 is greedy search. `state` has one hypothesis a
    sentence.

    A sentence leaves the batch as soon as its `n_best` can no longer change. With s the log-probability of a hypothesis
    that goes on, any continuation has s' ≤ s ≤ 0 and a length n ≤ `max_length` + 1, so its score s' / n^p is at most
    s / (`max_length` + 1)^p, for a length penalty p ≥ 0. Where `n_best` hypotheses have ended with scores above that
    bound of all that go on, no other one comes before them, and none of them is dropped. For p = 0 this is as early as
    can be; for p = 1 the bound is weak, and it is mostly the last hypotheses that end soon after each other.

    Raises ValueError for a length penalty below 0, and for `n_best` not within 1 and `beam_size`.
    """
    n_best = beam_size if n_best is None else n_best
    if length_penalty < 0:
        raise ValueError(f"length penalty: found {length_penalty}; allowed: 0 or more")
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"n_best: found {n_best}; allowed with a beam of {beam_size}: 1 to {beam_size}")
    first = next(iter(state.values()))
    sentences, device = first.shape[0], first.device
    zeros = torch.zeros((sentences, 1), dtype=torch.int64, device=device)
    beam = _Beam(zeros.new_zeros((sentences, 1, max_length + 1)), zeros.float(), zeros, zeros.bool())
    searched = torch.arange(sentences, device=device)  # the sentences still in the batch
    result = Hypotheses(
        tokens=zeros.new_zeros((sentences, n_best, max_length + 1)),
        lengths=zeros.new_zeros((sentences, n_best)),
        scores=torch.full((sentences, n_best), -torch.inf, device=device),
    )
    tokens = torch.full((sentences, 1), special.start, device=device)
    for length in range(max_length + 1):
        next_log_probs, state = step(tokens, state, memory)
        allowed = _allowed(next_log_probs, special, length, max_length)
        beam, parents, tokens = beam.advance(allowed, beam_size, length, special.end, length_penalty)
        rows = torch.arange(len(tokens), device=device)[:, None]
        state = {name: value[rows, parents] for name, value in state.items()}
        done = beam.is_final(n_best, max_length + 1, length_penalty)
        if done.any():
            found = beam.select(done).ranked(length_penalty)
            width = min(n_best, found.scores.shape[1])
            for whole, part in zip(result, found, strict=True):
                whole[searched[done], :width] = part[:, :width]
            searched, tokens, beam = searched[~done], tokens[~done], beam.select(~done)
            state = {name: value[~done] for name, value in state.items()}
            memory = {name: value[~done] for name, value in memory.items()}
            if not len(searched):
                break
    return result


def sample(
    step: Step,
    state: State,
    memory: Memory,
    special: SpecialTokens,
    draws: Tensor,
    *,
    temperature: float,
    length_penalty: float = 1.0,
) -> Hypotheses:
    """Hypotheses drawn token by token, each by itself, as the network's probabilities say.

    `draws` `(sentences, hypotheses, max_length)` float64 are random numbers in [0, 1): each hypothesis is a function of
    its own. `temperature` divides the logarithms before a token is drawn; towards 0 it becomes greedy search. Scores
    are the network's, whatever the temperature; two hypotheses may be alike. `state` has one hypothesis a sentence.

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
        special,
        drawn,
        hypotheses=hypotheses,
        max_length=max_length,
        length_penalty=length_penalty,
    )


def _token_by_token(
    step: Step,
    state: State,
    memory: Memory,
    special: SpecialTokens,
    choose: Callable[[Tensor, int], Tensor],
    *,
    hypotheses: int,
    max_length: int,
    length_penalty: float,
) -> Hypotheses:
    """Hypotheses that do not compete. `choose` takes the log-probabilities of all tokens, -inf where one may not stand,
    and how many tokens come before; it gives the next ones, `(sentences, hypotheses)`.
    """
    first = next(iter(state.values()))
    tokens = torch.full((len(first), hypotheses), special.start, device=first.device)
    log_probs = torch.zeros(tokens.shape, device=first.device)
    lengths = torch.zeros_like(tokens)
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    history: list[Tensor] = []
    for length in range(max_length + 1):
        next_log_probs, state = step(tokens, state, memory)
        chosen = choose(_allowed(next_log_probs, special, length, max_length), length)
        tokens = torch.where(ended, special.end, chosen)
        log_probs = torch.where(ended, log_probs, log_probs + next_log_probs.gather(2, tokens.unsqueeze(2)).squeeze(2))
        lengths += ~ended
        ended = ended | (tokens == special.end)
        history.append(tokens)
        if ended.all():
            break
    return _Beam(torch.stack(history, dim=2), log_probs, lengths, ended).ranked(length_penalty)


def _drawn(allowed: Tensor, draws: Tensor, temperature: float) -> Tensor:
    """A token for each random number `(sentences, hypotheses)`: the first at which the running sum of probabilities is
    above it. In float64, so that rare tokens of a large vocabulary keep their share.
    """
    running = (allowed.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    whole = running[..., -1:]
    below = torch.minimum(draws.unsqueeze(-1) * whole, torch.nextafter(whole, torch.zeros_like(whole)))
    return torch.searchsorted(running, below, right=True).squeeze(-1)


def _allowed(next_log_probs: Tensor, special: SpecialTokens, length: int, max_length: int) -> Tensor:
    """The log-probabilities, -inf where a token may not stand: forbidden ones, the end at first, all else at last."""
    allowed = next_log_probs.clone()
    if length == max_length:
        allowed.fill_(-torch.inf)
        allowed[..., special.end] = next_log_probs[..., special.end]
    else:
        allowed[..., [*special.forbidden, *([special.end] if length == 0 else [])]] = -torch.inf
    return allowed


class _Beam(NamedTuple):
    """The hypotheses of each sentence in the batch; the first of each is the greedy one."""

    tokens: Tensor  # (sentences, hypotheses, max_length + 1)
    log_probs: Tensor  # (sentences, hypotheses), of all tokens together
    lengths: Tensor  # (sentences, hypotheses) with the end token
    ended: Tensor  # (sentences, hypotheses)

    def advance(
        self, allowed: Tensor, size: int, step: int, end: int, length_penalty: float
    ) -> tuple[_Beam, Tensor, Tensor]:
        """The beam after one more token: the greedy hypothesis, then the best others, `size` at the most.

        `allowed` `(sentences, hypotheses, vocabulary)` are log-probabilities. Also returns, for each new hypothesis,
        the one that it continues and its token, both `(sentences, hypotheses)`.
        """
        # No hypothesis has more than `size` of its own continuations in the new beam, so the rest is left out first.
        candidates = allowed.topk(min(size, allowed.shape[-1]), dim=-1)
        stay = torch.full_like(candidates.values[:1, :1], -torch.inf)
        stay[..., 0] = 0.0  # one that has ended can only stay, as if by another end
        was_ended = self.ended.unsqueeze(-1)
        log_probs = (self.log_probs.unsqueeze(-1) + torch.where(was_ended, stay, candidates.values)).flatten(1)
        tokens = torch.where(was_ended, end, candidates.indices).flatten(1)
        lengths = self.lengths + ~self.ended
        scores = log_probs / lengths.repeat_interleave(stay.shape[-1], dim=1) ** length_penalty
        greedy = torch.zeros_like(tokens[:, :1])  # the likeliest continuation of hypothesis 0
        others = scores.scatter(1, greedy, -torch.inf).topk(min(size, scores.shape[1]) - 1, dim=1)
        chosen = torch.cat([greedy, others.indices], dim=1)
        parents, tokens = chosen // stay.shape[-1], tokens.gather(1, chosen)

        rows = torch.arange(len(allowed), device=allowed.device)[:, None]
        kept = log_probs.gather(1, chosen)
        # What has probability 0 only fills a place, be it with the greedy one again: it ends here and ranks last.
        kept[:, 1:].masked_fill_(others.values == -torch.inf, -torch.inf)
        history = self.tokens[rows, parents]
        history[:, :, step] = tokens
        ended = self.ended[rows, parents] | (tokens == end) | (kept == -torch.inf)
        return _Beam(history, kept, lengths[rows, parents], ended), parents, tokens

    def is_final(self, n_best: int, longest: int, length_penalty: float) -> Tensor:
        """Whether the `n_best` hypotheses of each sentence can no longer change, `(sentences,)`; see `beam_search`."""
        ended = self._scores(length_penalty)
        bounds = (self.log_probs / longest**length_penalty).masked_fill(self.ended, -torch.inf)
        all_ended = self.ended.all(dim=1)
        if n_best > ended.shape[1]:
            return all_ended
        return all_ended | (ended.topk(n_best, dim=1).values[:, -1] > bounds.amax(dim=1))

    def select(self, chosen: Tensor) -> _Beam:
        return _Beam(*(tensor[chosen] for tensor in self))

    def ranked(self, length_penalty: float) -> Hypotheses:
        """The hypotheses that have ended, best first; of equal ones the greedy one. The others come last."""
        scores, order = self._scores(length_penalty).sort(dim=1, descending=True, stable=True)
        rows = torch.arange(len(order), device=order.device)[:, None]
        return Hypotheses(self.tokens[rows, order], self.lengths[rows, order] - 1, scores)

    def _scores(self, length_penalty: float) -> Tensor:
        """`(sentences, hypotheses)`, -inf where one goes on."""
        return (self.log_probs / self.lengths**length_penalty).masked_fill(~self.ended, -torch.inf)

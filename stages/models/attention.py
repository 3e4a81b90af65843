"""Attention over the steps of a padded sequence."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Score = Literal["additive", "general", "dot"]


class Attention(nn.Module):
    """Looks each query up in a memory; what stands in the padding gets no weight.

    With q a query and k a step of the memory, the score is `additive`: v · tanh(W q + U k) (Bahdanau, Cho and Bengio,
    "Neural Machine Translation by Jointly Learning to Align and Translate", 2015); `general`: q · W k; `dot`: q · k,
    which needs sizes that are equal (both: Luong, Pham and Manning, "Effective Approaches to Attention-based Neural
    Machine Translation", 2015).
    """

    def __init__(self, query_size: int, memory_size: int, *, score: Score) -> None:
        super().__init__()
        if score == "dot" and query_size != memory_size:
            raise ValueError(f"dot attention: query size {query_size}, memory size {memory_size}; they must be equal")
        self._score = score
        if score != "dot":
            self.project_memory = nn.Linear(memory_size, query_size, bias=False)
        if score == "additive":
            self.project_query = nn.Linear(query_size, query_size)
            self.combine = nn.Linear(query_size, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        """What queries are compared with, once a sequence: `(batch, time, memory_size)` to `(batch, time, keys)`."""
        return memory if self._score == "dot" else self.project_memory(memory)

    def forward(self, queries: Tensor, keys: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The memory's weighted mean for each query, and the weights.

        `queries` `(batch, queries, query_size)`, `keys` as `keys` makes them, `memory` `(batch, time, memory_size)`,
        `mask` `(batch, time)` bool, to `(batch, queries, memory_size)` and `(batch, queries, time)`.
        """
        if self._score == "additive":
            pairs = self.project_query(queries).unsqueeze(2) + keys.unsqueeze(1)  # (batch, queries, time, query_size)
            scores = self.combine(torch.tanh(pairs)).squeeze(-1)
        else:
            scores = queries @ keys.transpose(1, 2)
        scores = scores.masked_fill(~mask.unsqueeze(1), torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1)
        return weights @ memory, weights

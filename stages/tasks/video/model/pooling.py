"""From the outputs at a clip's frames to one vector a clip."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ....models.batch import length_mask
from ....models.pooling import masked_deviation, masked_max, masked_mean
from ....models.recurrent import last_step

Pooling = Literal["last", "mean", "max", "attention", "statistics"]


class AttentionPooling(nn.Module):
    """A weighted mean over the steps; the weights are learned: the softmax of v · tanh(W h + b) (Yang et al.,
    "Hierarchical Attention Networks for Document Classification", 2016, section 2.2).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.project = nn.Linear(size, size)
        self.combine = nn.Linear(size, 1, bias=False)

    def weights(self, outputs: Tensor, mask: Tensor) -> Tensor:
        """What each step counts, `(batch, time)`, nothing in the padding: `outputs` is `(batch, time, size)`."""
        scores = self.combine(torch.tanh(self.project(outputs))).squeeze(-1)
        return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=1)

    def forward(self, outputs: Tensor, mask: Tensor) -> Tensor:
        """`(batch, time, size)` and `(batch, time)` to `(batch, size)`."""
        outputs = outputs.masked_fill(~mask.unsqueeze(-1), 0.0)
        return (self.weights(outputs, mask).unsqueeze(1) @ outputs).squeeze(1)


class TimePooling(nn.Module):
    """The last output, the mean or the maximum of a clip's own steps, their mean weighted by attention, or statistics:
    their mean beside their standard deviation, which tells a thing that moves from one that is there (Snyder et al.,
    "X-Vectors: Robust DNN Embeddings for Speaker Recognition", 2018).
    """

    def __init__(self, kind: Pooling, size: int) -> None:
        super().__init__()
        self.kind = kind
        self.output_size = 2 * size if kind == "statistics" else size
        if kind == "attention":
            self.attention = AttentionPooling(size)

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, size)` and `(batch,)` to `(batch, output_size)`."""
        if self.kind == "last":
            return last_step(outputs, lengths)
        mask = length_mask(lengths, outputs.shape[1])
        if self.kind == "mean":
            return masked_mean(outputs, mask)
        if self.kind == "max":
            return masked_max(outputs, mask)
        if self.kind == "statistics":
            return torch.cat([masked_mean(outputs, mask), masked_deviation(outputs, mask)], dim=1)
        pooled: Tensor = self.attention(outputs, mask)
        return pooled

"""Pooling over time: one vector a clip from its steps, or logits from the moments of its features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ....models.batch import length_mask
from ....models.pooling import masked_deviation, masked_max, masked_mean
from ....models.recurrent import last_step

Pooling = Literal["last", "mean", "max", "attention", "statistics"]

_MIN_SCALE = 0.01  # a feature that is hardly ever there must not become the loudest


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
        if self.kind == "attention":
            pooled: Tensor = self.attention(outputs, mask)
            return pooled
        return {"mean": masked_mean, "max": masked_max, "statistics": _statistics}[self.kind](outputs, mask)


class FeatureMoments(nn.Module):
    """Mean and standard deviation of each feature over a clip, standardised over the training clips, and a linear layer
    that begins at nothing.

    With few clips there is no better classifier of features that were learned on many pictures; what reads the frames
    in their order adds to it (the wide part beside the deep one: Cheng et al., "Wide & Deep Learning for Recommender
    Systems", 2016). It can learn any few clips by heart, and then nothing is left to learn from the order: not for
    classes that lie in it. Nothing is dropped here: a linear layer that cannot lean on all of its thousands of inputs
    does worse.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(2 * features))
        self.register_buffer("scale", torch.ones(2 * features))
        self.output = nn.Linear(2 * features, classes)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def standardise(self, clips: Iterable[np.ndarray]) -> None:
        """Take centre and scale from the features of the training clips, each `(time, features)`."""
        count, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for clip in clips:
            values = torch.from_numpy(clip.astype(np.float64))[None]
            moments = _statistics(values, torch.ones(1, len(clip), dtype=torch.bool))[0]
            count, total, squares = count + 1, total + moments, squares + moments.square()
        centre = total / count
        self.centre.copy_(centre)
        self.scale.copy_((squares / count - centre.square()).clamp(min=_MIN_SCALE**2).sqrt())

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, features)` and `(batch,)` to `(batch, classes)`."""
        moments = _statistics(values.float(), length_mask(lengths, values.shape[1]))
        logits: Tensor = self.output((moments - self.centre) / self.scale)
        return logits


def _statistics(values: Tensor, mask: Tensor) -> Tensor:
    """Mean beside standard deviation: `(batch, time, features)`, `(batch, time)` to `(batch, 2 * features)`."""
    return torch.cat([masked_mean(values, mask), masked_deviation(values, mask)], dim=1)

"""Pooling over time: one vector a clip from its steps, or logits from the moments of its features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from ....models.batch import Batch, length_mask
from ....models.pooling import masked_deviation, masked_max, masked_mean
from ....models.recurrent import last_step

Pooling = Literal["last", "mean", "max", "attention", "statistics"]

_MIN_SCALE = 0.01  # a feature that is hardly ever there must not become the loudest
_STRENGTH = 0.1  # of a fault beside the squared weights; of 0.0001 to 0.1, what each of six cross-validations chose
_MOST_ITERATIONS = 1000


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
    """Logistic regression on mean and standard deviation of each feature over a clip, fitted before training begins.

    With few clips there is no better classifier of features that were learned on many pictures. Its logits are added to
    those of what reads the frames in their order, and each has learned by itself: so probabilities of independent
    experts are multiplied (Hinton, "Training Products of Experts", 2002). Its weights are one convex problem, which
    `fit` solves; AdamW, which moves thousands of weights by like steps, ends at another line between the clips. It can
    learn any few clips by heart and is then sure of chance: not for classes that lie in the order.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(2 * features))
        self.register_buffer("scale", torch.ones(2 * features))
        self.output = nn.Linear(2 * features, classes).requires_grad_(False)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def fit(self, batches: Iterable[Batch]) -> None:
        """Standardise over the training clips, whose features are `(batch, time, features)`, and find the weights with
        the least sum of cross-entropy and squared weights, by L-BFGS.
        """
        found, labels = [], []
        for batch in batches:
            assert batch.targets is not None
            found.append(_statistics(batch.values.double(), batch.mask))
            labels.append(batch.targets)
        moments, targets = torch.cat(found), torch.cat(labels)
        centre, scale = moments.mean(dim=0), moments.std(dim=0, correction=0).clamp(min=_MIN_SCALE)
        moments = (moments - centre) / scale
        weight, bias = (torch.zeros(w.shape, dtype=torch.float64).requires_grad_() for w in self.output.parameters())
        lbfgs = torch.optim.LBFGS([weight, bias], max_iter=_MOST_ITERATIONS, line_search_fn="strong_wolfe")

        def objective() -> Tensor:
            lbfgs.zero_grad()
            fault = nn.functional.cross_entropy(moments @ weight.T + bias, targets, reduction="sum")
            value = _STRENGTH * fault + weight.square().sum() / 2
            value.backward()
            return value

        lbfgs.step(objective)
        with torch.no_grad():
            for own, fitted in ((self.centre, centre), (self.scale, scale), (self.output.weight, weight)):
                own.copy_(fitted)
            self.output.bias.copy_(bias)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, features)` and `(batch,)` to `(batch, classes)`."""
        moments = _statistics(values.float(), length_mask(lengths, values.shape[1]))
        logits: Tensor = self.output((moments - self.centre) / self.scale)
        return logits


def _statistics(values: Tensor, mask: Tensor) -> Tensor:
    """Mean beside standard deviation: `(batch, time, features)`, `(batch, time)` to `(batch, 2 * features)`."""
    return torch.cat([masked_mean(values, mask), masked_deviation(values, mask)], dim=1)

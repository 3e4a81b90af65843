"""What a clip is by how much of each feature it has and how much that moves, whatever the order of its frames."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from ....models.batch import length_mask
from ....models.pooling import masked_deviation, masked_mean


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
            moments = _moments(torch.from_numpy(clip.astype(np.float64))[None], torch.tensor([len(clip)]))[0]
            count, total, squares = count + 1, total + moments, squares + moments.square()
        centre = total / count
        self.centre.copy_(centre)
        self.scale.copy_((squares / count - centre.square()).clamp(min=_LEAST**2).sqrt())

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, features)` and `(batch,)` to `(batch, classes)`."""
        found: Tensor = self.output((_moments(values.float(), lengths) - self.centre) / self.scale)
        return found


_LEAST = 0.01  # of a scale: a feature that is hardly ever there must not become the loudest


def _moments(values: Tensor, lengths: Tensor) -> Tensor:
    """`(batch, time, features)` to `(batch, 2 * features)`."""
    mask = length_mask(lengths, values.shape[1])
    return torch.cat([masked_mean(values, mask), masked_deviation(values, mask)], dim=1)

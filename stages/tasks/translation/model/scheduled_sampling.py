"""Scheduled sampling: in training the decoder reads some of its own tokens in place of the true ones, as it must in use
(Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", 2015).

Both families decode all steps at once, so the network reads a target twice (Mihaylova and Martins, "Scheduled Sampling
for Transformers", 2019): first the true tokens, without gradient, to predict the one after each; then the true tokens
with some of these predictions in their places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....models.counter_rng import uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledSampling:
    """Which inputs are replaced: a function of seed, epoch, example and step, whatever batch or rank they come in."""

    largest: float  # share of the inputs, in the last epoch; it rises from 0 in the first by as much in each
    epochs: int
    seed: int

    def share(self, epoch: int) -> float:
        """The share of the inputs that is replaced."""
        return self.largest * epoch / max(1, self.epochs - 1)

    def replaced(self, examples: np.ndarray, steps: int, *, epoch: int) -> np.ndarray:
        """Which inputs of each example, `(examples, steps)` bool; never the first, the start token."""
        chosen = uniform(self.seed, epoch, examples, steps) < self.share(epoch)
        chosen[:, 0] = False
        return chosen

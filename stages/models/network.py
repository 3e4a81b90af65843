"""What every task's network offers to training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ..data.store import Split
from .batch import Batch

Losses = Mapping[str, tuple[Tensor, Tensor | float]]
Predict = Callable[[Callable[[Batch], Tensor]], np.ndarray]


class Network(nn.Module, ABC):
    """A module that measures its losses on a batch. What follows `losses` is for a network to replace if it likes."""

    @abstractmethod
    def losses(self, batch: Batch) -> Losses:
        """Sums over the batch by name, each as `(total, weight)`; training lowers `loss`.

        Sums and not means, so that batches, and ranks, of unequal size add up to the exact mean of the whole.
        """

    def load_pretrained(self, prepared: Path, split: Split = "train") -> None:
        """Before training, replace random weights with those that the prepared data brings, or that are found from the
        examples of `split`, which training learns from; by default none.
        """

    def lr_multiplier(self, name: str) -> float:
        """What the learning rate is multiplied by for the parameter of this name."""
        return 1.0

    def calibrate(self, predict: Predict) -> None:
        """After training, fit to the validation split what gradients do not fit; by default nothing.

        `predict(function)` gives `function(batch)` of every validation example, in their order.
        """

    def copy_calibration(self, measured: Network) -> None:
        """Take over what `calibrate` has fitted in another network of the same kind; by default nothing."""

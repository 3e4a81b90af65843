"""What the engine asks of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from .batch import Batch

Sums = Mapping[str, tuple[Tensor, Tensor | float]]
Predict = Callable[[Callable[[Batch], Tensor]], np.ndarray]


class Network(nn.Module, ABC):
    """A module that can say how wrong it is on a batch."""

    @abstractmethod
    def losses(self, batch: Batch) -> Sums:
        """Sums over the batch by name, each as `(total, weight)`; `loss` is what training lowers.

        Sums and not means, so that batches, and ranks, of unequal size add up to the exact mean of the whole.
        """

    def start_from(self, prepared: Path) -> None:
        """Put weights that the prepared data brings in place of random ones, before training; by default there are
        none.
        """

    def rate(self, name: str) -> float:
        """By what the learning rate is multiplied for the parameter of this name; 1 by default."""
        return 1.0

    def settle(self, predict: Predict) -> None:
        """Fit to the validation split what is fitted after training, such as a calibration; nothing unless a network
        says so. `predict(answer)` gives `answer(batch)` of every validation example, in their order.
        """

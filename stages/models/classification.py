"""What classifiers of sequences share: the loss, calibrated probabilities and the ranked answer."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..data.evenly import evenly
from .batch import Batch
from .network import Losses, Network, Predict

_MOST = 20_000  # validation examples that the temperature is fitted to; one number gains nothing from more
_SHARPEST, _FLATTEST = 0.01, 100.0


class Classifier(Network):
    """A network whose answers are logits. Calibration divides them by one temperature, so that the probability of the
    likeliest class is how often it is right: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural
    Networks", 2017, https://arxiv.org/abs/1706.04599, section 4.2. No answer changes by it.
    """

    temperature: Tensor  # (), 1 until calibration

    def __init__(self, *, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("temperature", torch.ones(()))

    @abstractmethod
    def logits(self, batch: Batch) -> Tensor:
        """A batch to `(batch, classes)` logits, as training leaves them."""

    def forward(self, batch: Batch) -> Tensor:
        """A batch to `(batch, classes)` logits, calibrated."""
        return self.logits(batch) / self.temperature

    def losses(self, batch: Batch) -> Losses:
        """`loss` and `accuracy`, see `classification_losses`; targets are smoothed in training alone."""
        assert batch.targets is not None
        smoothing = self.label_smoothing if self.training else 0.0
        return classification_losses(self(batch), batch.targets, label_smoothing=smoothing)

    def calibrate(self, predict: Predict) -> None:
        """Fit the temperature to the validation split."""

        def columns(batch: Batch) -> Tensor:
            assert batch.targets is not None
            return torch.cat([self.logits(batch).double(), batch.targets[:, None].double()], dim=1)

        found = predict(columns)
        self.temperature.fill_(fitted_temperature(found[:, :-1], found[:, -1].astype(np.int64)))

    def copy_calibration(self, other: Network) -> None:
        assert isinstance(other, Classifier)
        self.temperature.copy_(other.temperature)

    def match_calibration(self, measured: Network, predict: Predict, predict_measured: Predict) -> None:
        """The measured network's temperature: on examples that it has learned, a network is too often right."""
        self.copy_calibration(measured)


def fitted_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """What `(examples, classes)` logits must be divided by for the least cross-entropy with `targets`, 0.01 to 100.

    Were all answers right, the least would be at 0, and every later answer certain. So the targets are Platt's
    ("Probabilistic Outputs for Support Vector Machines", 1999): of n examples each is right to (n + 1) / (n + 2), the
    rest spread over the other classes.
    """
    some = evenly(len(logits), _MOST)
    some = some[np.isfinite(logits[some]).all(axis=1)]  # one number that is none would leave no probability
    logits, targets = logits[some].astype(np.float64), targets[some]
    classes = logits.shape[1]
    if classes == 1 or not len(some):
        return 1.0
    logits = logits - logits.max(axis=1, keepdims=True)
    right = (len(logits) + 1) / (len(logits) + 2)
    true = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    wanted = (right * true + (1 - right) * (logits.sum(axis=1) - true) / (classes - 1)).mean()
    # The derivative by 1 / temperature only rises: the mean logit by the probabilities, less that by the targets.
    low, high = np.log(1 / _FLATTEST), np.log(1 / _SHARPEST)
    for _ in range(60):
        middle = (low + high) / 2
        chances = np.exp(np.exp(middle) * logits)
        mean = ((chances * logits).sum(axis=1) / chances.sum(axis=1)).mean()
        low, high = (middle, high) if mean < wanted else (low, middle)
    return float(np.exp(-(low + high) / 2))


def classification_losses(
    logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> dict[str, tuple[Tensor, float]]:
    """`loss` (cross-entropy) and `accuracy` as sums with the number of sequences; logits `(batch, classes)`."""
    loss = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing)
    right = (logits.argmax(dim=1) == targets).sum()
    return {"loss": (loss, float(len(targets))), "accuracy": (right, float(len(targets)))}


def ranked(logits: Tensor, classes: list[str], k: int = 5) -> list[dict[str, object]]:
    """For each row of `(batch, classes)`: label, probability and the `k` likeliest labels with their probabilities."""
    top = torch.softmax(logits.double(), dim=1).topk(min(k, len(classes)), dim=1)
    rows: list[dict[str, object]] = []
    for probabilities, indices in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        labels = [classes[i] for i in indices]
        rows.append(
            {
                "label": labels[0],
                "probability": probabilities[0],
                "top5_labels": labels,
                "top5_probabilities": probabilities,
            }
        )
    return rows

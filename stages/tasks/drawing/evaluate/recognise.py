"""What the sketch classifier takes drawings for: the network of weights/sketch, on the way that all drawings take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .... import distributed
from ....batching import Batch
from ....engine import predict
from ....paths import Paths
from ....weights import load_network
from ...sketch.model.features import Feature, features
from ...sketch.model.network import build, padded
from ...sketch.params import ModelParams
from ...sketch.source.drawings import canonical_readings, collect

_BATCH_SIZE = 256


class Canonical:
    """Drawings in their canonical form, as the classifier's batches."""

    def __init__(self, sequences: Sequence[np.ndarray], chosen: Sequence[Feature]) -> None:
        self._sequences = sequences
        self._features = chosen
        self.lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, example: int) -> str:
        return str(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Values `(batch, time, features)` float32."""
        steps, lengths = np.concatenate([self._sequences[i] for i in examples]), self.lengths[examples]
        return padded(features(steps, lengths, self._features), lengths)


def recognise(drawings: Sequence[object], classes: Sequence[str]) -> np.ndarray:
    """The probability of each class for each drawing `[[xs, ys], …]`, `(drawings, classes)`; zeros for what is none.

    Raises ValueError where the classifier knows other classes.
    """
    network, data = load_network(Paths("sketch").weights, build, ModelParams)
    if data["classes"] != list(classes):
        raise ValueError(
            f"{Paths('sketch').weights}: found a classifier of {', '.join(data['classes'])}; "
            f"allowed: one of {', '.join(classes)}"
        )
    network.to(distributed.device())
    found = np.zeros((len(drawings), len(classes)))
    readings = canonical_readings(collect(drawings), max_points=data["max_points"])
    if len(readings.good):
        known = Canonical(readings.sequences(), network.features)
        found[readings.good] = predict(
            network, known, _BATCH_SIZE, lambda batch: torch.softmax(network(batch).double(), dim=1)
        )
    return found


def taken_for(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest class of each drawing, `(drawings,)`; -1 for what is no drawing."""
    return np.where(probabilities.any(axis=1), probabilities.argmax(axis=1), -1)

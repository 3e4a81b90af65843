"""What the sketch classifier takes drawings for: the network of weights/sketch, on the way that all drawings take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....models.batch import by_length
from ....models.weights import load_network
from ...protocol import Task
from ...sketch.data.reading import canonical_readings, collect
from ...sketch.model.features import features
from ...sketch.model.network import build, padded
from ...sketch.params import ModelParams

_BATCH_SIZE = 256


def recognise(drawings: Sequence[object], classes: Sequence[str]) -> np.ndarray:
    """The probability of each class for each drawing `[[xs, ys], …]`, `(drawings, classes)`; zeros for what is none.

    Raises ValueError where the classifier knows other classes.
    """
    weights = Task("sketch").paths.weights
    network, data = load_network(weights, build, ModelParams)
    if data["classes"] != list(classes):
        raise ValueError(
            f"{Task('sketch').paths.weights}: found a classifier of {', '.join(data['classes'])}; "
            f"allowed: one of {', '.join(classes)}"
        )
    found = np.zeros((len(drawings), len(classes)))
    readings = canonical_readings(collect(drawings), max_points=data["max_points"])
    sequences = readings.sequences()
    for some in by_length(readings.lengths, _BATCH_SIZE):
        lengths = readings.lengths[some]
        values = features(np.concatenate([sequences[i] for i in some]), lengths, network.features)
        with torch.inference_mode():
            chances = torch.softmax(network(padded(values, lengths)).double(), dim=1)
        found[readings.good[some]] = chances.numpy()
    return found


def taken_for(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest class of each drawing, `(drawings,)`; -1 for what is no drawing."""
    return np.where(probabilities.any(axis=1), probabilities.argmax(axis=1), -1)

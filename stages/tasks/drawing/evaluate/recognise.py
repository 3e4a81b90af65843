"""What the sketch classifier takes drawings for: the network of weights/sketch, on the way that all drawings take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....models.weights import load_network
from ...protocol import Task
from ...sketch.data.canonical import canonicalize
from ...sketch.data.parse import parse
from ...sketch.model.network import batches, build
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
            f"{weights}: found a classifier of {', '.join(data['classes'])}; allowed: one of {', '.join(classes)}"
        )
    found = np.zeros((len(drawings), len(classes)))
    canonical = canonicalize(parse(drawings), max_points=data["max_points"])
    for places, batch in batches(canonical.sequences(), network.features, _BATCH_SIZE):
        with torch.inference_mode():
            chances = torch.softmax(network(batch).double(), dim=1)
        found[canonical.good[places]] = chances.numpy()
    return found


def taken_for(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest class of each drawing, `(drawings,)`; -1 for what is no drawing."""
    return np.where(probabilities.any(axis=1), probabilities.argmax(axis=1), -1)

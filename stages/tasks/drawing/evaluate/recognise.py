"""The classes that the sketch classifier, the network of weights/sketch/measured, recognises drawings as."""

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
    weights = Task("sketch").paths.measured
    network, data = load_network(weights, build, ModelParams)
    if data["classes"] != list(classes):
        raise ValueError(
            f"{weights}: found a classifier of {', '.join(data['classes'])}; allowed: one of {', '.join(classes)}"
        )
    probabilities = np.zeros((len(drawings), len(classes)))
    canonical = canonicalize(parse(drawings), max_points=data["max_points"])
    for places, batch in batches(canonical.sequences(), network.features, _BATCH_SIZE):
        with torch.inference_mode():
            probabilities[canonical.good[places]] = torch.softmax(network(batch).double(), dim=1).numpy()
    return probabilities


def taken_for(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest class of each drawing, `(drawings,)`; -1 for what is no drawing."""
    return np.where(probabilities.any(axis=1), probabilities.argmax(axis=1), -1)

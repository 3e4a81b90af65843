"""The classes that the judge of drawings, the network of weights/judge/sketch, recognises them as."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....models.weights import load_network
from ....provenance.hashes import content_md5
from ...protocol import Task
from ...sketch.data.canonical import canonicalize
from ...sketch.data.parse import parse
from ...sketch.model.network import batches, build
from ...sketch.params import ModelParams

_BATCH_SIZE = 256


def recognise(drawings: Sequence[object], classes: Sequence[str]) -> np.ndarray:
    """The probability of each class for each drawing `[[xs, ys], …]`, `(drawings, classes)`; zeros for what is none.

    Raises ValueError where the judge knows other classes.
    """
    weights = Task("sketch").paths.judge
    network, data = load_network(weights, build, ModelParams)
    if data["classes"] != list(classes):
        raise ValueError(
            f"{weights}: found a judge for the classes {', '.join(data['classes'])}; allowed: a judge for "
            f"{', '.join(classes)}"
        )
    probabilities = np.zeros((len(drawings), len(classes)))
    canonical = canonicalize(parse(drawings), max_points=data["max_points"])
    for places, batch in batches(canonical.sequences(), network.features, _BATCH_SIZE):
        with torch.inference_mode():
            probabilities[canonical.good[places]] = torch.softmax(network(batch).double(), dim=1).numpy()
    return probabilities


def judge_signature() -> str:
    """Which judge it was, as a metric's signature: the md5 of its weights."""
    return f"judge:{content_md5(Task('sketch').paths.judge)}"


def taken_for(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest class of each drawing, `(drawings,)`; -1 for what is no drawing."""
    return np.where(probabilities.any(axis=1), probabilities.argmax(axis=1), -1)

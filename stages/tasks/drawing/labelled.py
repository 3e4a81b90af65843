"""Labels that were asked for: whether the judge takes each drawing for its label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...evaluation.bootstrap import Scores, mean
from ...models.weights import read_network
from ..protocol import Task
from .evaluate.recognise import recognise, taken_for
from .params import Params

LABELS = "a .txt with one label per line; each is drawn, and the judge in weights/judge/sketch classifies the drawing"


def scores(targets: Sequence[str], answers: Sequence[Mapping[str, Any]], params: Params, metric: str) -> Scores:
    """The share of drawings that the judge takes for their label; a missing one is not recognised."""
    classes: list[str] = read_network(Task("sketch").paths.judge)["data"]["classes"]
    drawings = [json.loads(answer["drawing"]) if isinstance(answer["drawing"], str) else None for answer in answers]
    expected = np.array([classes.index(target) if target in classes else -2 for target in targets])
    return mean(taken_for(recognise(drawings, classes)) == expected)

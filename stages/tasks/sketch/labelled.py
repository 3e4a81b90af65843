"""Drawings whose words somebody knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...evaluation.bootstrap import Scores, accuracy
from .params import Params

LABELS = "an .ndjson or .json whose drawings have their class as `word`, as Quick, Draw!'s, or as `label`"


def scores(targets: Sequence[str], answers: Sequence[Mapping[str, Any]], params: Params, metric: str) -> Scores:
    """Accuracy; each drawing by itself."""
    return accuracy([answer["label"] for answer in answers], targets)

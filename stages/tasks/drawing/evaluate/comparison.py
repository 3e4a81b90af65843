"""Classes and seeds to draw from, and the score of the drawings.

Two versions are compared on the same classes and seeds, by the sketch classifier that stands in weights/sketch today.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ....data.prepared import open_prepared
from ....evaluation.bootstrap import Scores, mean
from .recognise import recognise, taken_for


def examples(prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
    """`limit` rows, the classes in turn, each row with a seed of its own: columns `label` and `seed`."""
    classes = _classes(prepared)
    labels = [classes[number] for number in _class_numbers(classes, limit)]
    return pd.DataFrame({"label": labels, "seed": np.arange(limit, dtype=np.int64)})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, limit: int) -> Scores:
    """The share of drawings that the classifier takes for their class; a missing one is not recognised.

    Raises ValueError where there are more or fewer answers than examples.
    """
    classes = _classes(prepared)
    expected = _class_numbers(classes, limit)
    if len(answers) != len(expected):
        raise ValueError(f"found {len(answers)} answers to {len(expected)} examples; allowed is one to each, in order")
    drawings = [json.loads(text) if isinstance(text, str) else None for text in answers["drawing"]]
    return mean(taken_for(recognise(drawings, classes)) == expected)


def _classes(prepared: Path) -> list[str]:
    return list(open_prepared(prepared)[1]["classes"])


def _class_numbers(classes: list[str], limit: int) -> np.ndarray:
    return np.arange(limit) % len(classes)

"""Classes and seeds to draw from, and the score of the drawings.

Two versions are compared on the same classes and seeds, by the judge that stands in weights/judge/sketch
today.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ....data.prepared import open_prepared
from ....evaluation.bootstrap import Scores, mean
from .recognise import recognise, taken_for


def identities(prepared: Path) -> None:
    """Nobody has learned classes and seeds: there are as many as are asked for."""


def examples(prepared: Path, raw: Path, chosen: np.ndarray) -> pd.DataFrame:
    """The classes in turn, each row with its number as the seed: columns `label` and `seed`."""
    classes = _classes(prepared)
    labels = [classes[number] for number in chosen % len(classes)]
    return pd.DataFrame({"label": labels, "seed": chosen.astype(np.int64)})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, chosen: np.ndarray) -> Scores:
    """The share of drawings that the judge takes for their class; a missing one is not recognised.

    Raises ValueError where there are more or fewer answers than examples.
    """
    classes = _classes(prepared)
    expected = chosen % len(classes)
    if len(answers) != len(expected):
        raise ValueError(
            f"found {len(answers)} answers to {len(expected)} examples; allowed: one answer per example, in order"
        )
    drawings = [json.loads(text) if isinstance(text, str) else None for text in answers["drawing"]]
    return mean(taken_for(recognise(drawings, classes)) == expected)


def _classes(prepared: Path) -> list[str]:
    return list(open_prepared(prepared)[1]["classes"])

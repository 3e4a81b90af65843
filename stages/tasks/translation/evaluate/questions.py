"""The test sentences as a registered model is asked them, and what its answers are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ....questions import asked
from ....scores import Scores, equality


def questions(prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
    """`text` of each test pair, in the form that normalisation has given it (a model's own changes nothing more)."""
    store, rows = asked(prepared, limit)
    return pd.DataFrame({"text": store.column("source_text")[rows].tolist()})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, limit: int) -> Scores:
    """Exact match; pairs that share a source are drawn together."""
    store, rows = asked(prepared, limit)
    sources, targets = (store.column(name)[rows].tolist() for name in ("source_text", "target_text"))
    return equality(answers["translation"].tolist(), targets, np.unique(sources, return_inverse=True)[1])

"""The test sentences as a registered model is asked them, and what its answers are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ....preparation import open_prepared
from ....scores import Scores, equality, evenly
from ....sequences import SequenceStore


def questions(prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
    """`text` of each test pair, in the form that normalisation has given it (a model's own changes nothing more)."""
    store, rows = _test(prepared, limit)
    return pd.DataFrame({"text": store.column("source_text")[rows].tolist()})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, limit: int) -> Scores:
    """Exact match; pairs that share a source are drawn together."""
    store, rows = _test(prepared, limit)
    sources, targets = (store.column(name)[rows].tolist() for name in ("source_text", "target_text"))
    return equality(answers["translation"].tolist(), targets, np.unique(sources, return_inverse=True)[1])


def _test(prepared: Path, limit: int) -> tuple[SequenceStore, np.ndarray]:
    store, _ = open_prepared(prepared)
    rows = store.rows("test")
    return store, rows[evenly(len(rows), limit)]

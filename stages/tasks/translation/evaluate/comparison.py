"""The test sentences as a registered model is asked them, and scores of its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ....data.prepared import open_prepared
from ....evaluation.bootstrap import Scores, evenly, mean
from .scoring import exact
from .segments import Segments, read_segments


def examples(prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
    """`text` of each test segment, in the form that normalisation has given it (a model's own changes nothing more)."""
    return pd.DataFrame({"text": _segments(prepared, limit).texts})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, limit: int) -> Scores:
    """Exact match with any reference; segments that share a source are drawn together."""
    segments = _segments(prepared, limit)
    return mean(np.array(exact(answers["translation"].tolist(), segments.references)), segments.groups)


def _segments(prepared: Path, limit: int) -> Segments:
    """Up to `limit` segments, evenly over the test split and always the same."""
    segments = read_segments(*open_prepared(prepared))
    return segments.only(evenly(len(segments), limit))

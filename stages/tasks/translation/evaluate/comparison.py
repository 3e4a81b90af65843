"""The test sentences as a registered model is asked them, and scores of its answers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ....data.files import read_json
from ....data.prepared import DESCRIPTION_NAME, open_prepared
from ....evaluation.bootstrap import Scores, evenly
from .. import DESCRIPTION
from .scoring import sentence_scores
from .segments import Segments, read_segments


def examples(prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
    """`text` of each test segment, in the form that normalisation has given it (a model's own changes nothing more)."""
    return pd.DataFrame({"text": _segments(prepared, limit).texts})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, limit: int, metric: str = DESCRIPTION.metric) -> Scores:
    """One of `scoring.METRICS`, with all references; segments that share a source are drawn together."""
    segments = _segments(prepared, limit)
    language = read_json(prepared / DESCRIPTION_NAME)["target_language"]
    translations = answers["translation"].tolist()
    return sentence_scores(metric, translations, segments.references, segments.groups, language=language)


def _segments(prepared: Path, limit: int) -> Segments:
    """Up to `limit` segments, evenly over the test split and always the same."""
    segments = read_segments(*open_prepared(prepared))
    return segments.only(evenly(len(segments), limit))

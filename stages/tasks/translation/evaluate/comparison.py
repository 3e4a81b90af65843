"""The test sentences as a registered model is asked them, and scores of its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ....data.files import read_json
from ....data.prepared import DESCRIPTION_NAME, open_prepared
from ....evaluation.bootstrap import Scores
from ....models.learned import Identities
from .. import DESCRIPTION
from .scoring import sentence_scores
from .segments import Segments, read_segments


def identities(prepared: Path) -> Identities:
    """The segments' sources, or the pairs where each pair is a segment."""
    store, data = open_prepared(prepared)
    segments = read_segments(store, data)
    if data["segment"] == "source":
        return Identities(segments.texts)
    pairs = zip(segments.texts, segments.references, strict=True)
    return Identities([f"{text}\t{target}" for text, (target,) in pairs])


def examples(prepared: Path, raw: Path, chosen: np.ndarray) -> pd.DataFrame:
    """`text` of each test segment, in the form that normalisation has given it (a model's own changes nothing more)."""
    return pd.DataFrame({"text": _segments(prepared, chosen).texts})


def scores(
    answers: pd.DataFrame, prepared: Path, raw: Path, chosen: np.ndarray, metric: str = DESCRIPTION.metric
) -> Scores:
    """One of `scoring.METRICS`, with all references; segments that share a source are drawn together."""
    segments = _segments(prepared, chosen)
    language = read_json(prepared / DESCRIPTION_NAME)["target_language"]
    translations = answers["translation"].tolist()
    return sentence_scores(metric, translations, segments.references, segments.groups, language=language)


def _segments(prepared: Path, chosen: np.ndarray) -> Segments:
    """Segments of the test split by their numbers in it."""
    return read_segments(*open_prepared(prepared)).only(chosen)

"""Series of a user's file as a profile sees them, repaired as by the registered model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ....preprocessing.profile import Known, Observed
from ....preprocessing.weekly import DailySeries
from ..data.series import Rejection
from .predictor import read_series


def read(groups: Iterable[list[dict[str, Any]]], known: Known) -> Observed:
    """All series of a file; one without a name is what a lone series is called in the training data's file."""
    series: list[DailySeries] = []
    rejected: Counter[str] = Counter()
    for rows in groups:
        frame = pd.DataFrame(rows, dtype=object)
        try:
            _, found = read_series(frame, duplicates=known.data["duplicates"], max_gap_days=known.data["max_gap_days"])
        except Rejection as error:
            rejected[error.rule] += 1
        except ValueError:
            rejected["unreadable_series"] += 1
        else:
            name = str(rows[0]["unique_id"] or "")
            series.append(DailySeries(name=name, start=found.start, values=found.values, observed=found.observed))
    return Observed(examples=len(series), series=series, rejected=rejected)

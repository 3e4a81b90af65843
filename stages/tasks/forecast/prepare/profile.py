"""Series as a profile sees them: their days, of which `preprocessing/weekly.py` makes levels, spreads and patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....data.prepared import open_prepared
from ....data.store import SequenceStore
from ....preprocessing.profile import Known, Observed
from ....preprocessing.weekly import DailySeries
from ..data.series import day_number


def learned(prepared: Path) -> Observed:
    """All days of all series of the prepared data, not those of the training split alone: by the others the champion
    was judged, and the served network may have learned them (`train.refit`). So what comes is compared with the days
    just before it, and not with those of two years ago.
    """
    store, _ = open_prepared(prepared)
    return _observed(store, np.arange(len(store)))


def current(prepared: Path, rows: np.ndarray, known: Known) -> Observed:
    """All days of some series of the prepared data."""
    store, _ = open_prepared(prepared)
    return _observed(store, rows)


def _observed(store: SequenceStore, rows: np.ndarray) -> Observed:
    columns = (store.values(name, rows) for name in ("id", "start"))
    series = [
        DailySeries(
            name=name,
            start=day_number(start),
            values=store.sequence("values", row),
            observed=store.sequence("observed", row) != 0,
        )
        for row, name, start in zip(rows, *columns, strict=True)
    ]
    return Observed(examples=len(series), series=series)

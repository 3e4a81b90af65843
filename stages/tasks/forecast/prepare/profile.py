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
    """The training days of all series of the prepared data."""
    store, _ = open_prepared(prepared)
    ends = store.column("train_end").tolist()
    series = [one.until(end) for one, end in zip(_series(store, np.arange(len(store))), ends, strict=True)]
    return Observed(examples=len(series), series=series)


def current(prepared: Path, rows: np.ndarray, known: Known) -> Observed:
    """All days of some series of the prepared data."""
    store, _ = open_prepared(prepared)
    series = _series(store, rows)
    return Observed(examples=len(series), series=series)


def _series(store: SequenceStore, rows: np.ndarray) -> list[DailySeries]:
    columns = (store.values(name, rows) for name in ("id", "start"))
    return [
        DailySeries(
            name=name,
            start=day_number(start),
            values=store.sequence("values", row),
            observed=store.sequence("observed", row) != 0,
        )
        for row, name, start in zip(rows, *columns, strict=True)
    ]

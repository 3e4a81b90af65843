"""Raw files into the sequence store: one row a series, cut in time and not in rows.

A series is one row, its windows are cut when they are read. So the column `split` says `train` everywhere, and where a
series is cut stands in `train_end` and `validation_end`: the steps at which its validation and its test days begin.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ....preparation import Preparation
from ....sequences import ragged
from ..params import PrepareParams
from .readers import Bad, Observation, read_csv, read_tsf
from .series import HORIZON, MIN_HISTORY, SeriesError, calendar_date, regular

COLUMNS = {
    "values": ragged(np.float64),
    "observed": ragged(np.uint8),  # 0 where a missing day was filled
    "start": pa.date32(),
    "train_end": pa.int32(),
    "validation_end": pa.int32(),
}


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Write each series that the rules of `series.py` allow; the others, and bad lines, are rejected with a reason.

    Raises ValueError for a file that is no CSV or .tsf of daily series, or lacks a column.
    """
    series: dict[str, tuple[array[int], array[float]]] = {}
    for path in sorted(p for p in raw.iterdir() if p.suffix in (".csv", ".tsf")):
        for record in tqdm(_read(path, params), desc=path.name, unit="value", leave=False, disable=None):
            if isinstance(record, Bad):
                output.reject(
                    id=record.where,
                    file=path.name,
                    rule=record.rule,
                    reason=record.reason,
                    content=record.content,
                    records=record.observations,
                )
                continue
            days, values = series.setdefault(record.series, (array("i"), array("d")))
            days.append(record.day)
            values.append(record.value)
    held_out = params.validation_days + params.test_days
    first, last = [], []
    with output.store(COLUMNS, rows_per_batch=64) as writer:
        for name, (days, values) in series.items():
            try:
                found = regular(
                    np.frombuffer(days, dtype=np.int32),
                    np.frombuffer(values, dtype=np.float64),
                    duplicates=params.duplicates,
                    max_gap_days=params.max_gap_days,
                    min_days=MIN_HISTORY + HORIZON + held_out,
                )
            except SeriesError as error:
                output.reject(id=name, file="", rule=error.rule, reason=str(error), records=len(days))
                continue
            for rule, count in found.repairs.items():
                output.repair(rule, count)
            output.accept(len(days))
            length = len(found.values)
            writer.append(
                {
                    "id": name,
                    "split": "train",
                    "length": length,
                    "values": found.values,
                    "observed": found.observed.astype(np.uint8),
                    "start": calendar_date(found.start),
                    "train_end": length - held_out,
                    "validation_end": length - params.test_days,
                }
            )
            first.append(found.start)
            last.append(found.start + length - 1)
    output.describe(
        {
            "series": len(first),
            "first_day": calendar_date(min(first)).isoformat() if first else None,
            "last_day": calendar_date(max(last)).isoformat() if last else None,
            "horizon": HORIZON,
            "max_gap_days": params.max_gap_days,
        }
    )


def _read(path: Path, params: PrepareParams) -> Iterator[Observation | Bad]:
    return read_csv(path, params) if path.suffix == ".csv" else read_tsf(path)

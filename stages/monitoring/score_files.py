"""What `score` leaves below `scores/TASK/`, each file there as a whole or not at all.

score.json    verdict, alarms, metrics beside those of the evaluation, what was skipped
table.csv     forecasts: a row for each day of a series on the charts
slices.csv    metrics by days ahead, day, series and version, or by class
score.png     forecasts: the last 90 days of errors against their band, alarms marked
"""

from __future__ import annotations

import io
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.files import write_json, write_text

if TYPE_CHECKING:
    import pandas as pd

    from .scoring import Scored

FOLDER = Path("scores")
SCORE, TABLE, SLICES, PICTURE = "score.json", "table.csv", "slices.csv", "score.png"


def write(scored: Scored, folder: Path) -> None:
    """Write all files; `score.json` last, so that what stands there has its tables beside it. Equal scores give equal
    bytes.
    """
    _write_table(folder / TABLE, scored.table)
    _write_table(folder / SLICES, scored.slices)
    if "score" in scored.table and len(scored.table):
        from .score_picture import score_picture

        file = io.BytesIO()
        score_picture(scored.table).savefig(file, format="png", dpi=110, metadata={"Software": None})
        _write_bytes(folder / PICTURE, file.getvalue())
    else:
        (folder / PICTURE).unlink(missing_ok=True)
    write_json(folder / SCORE, _document(scored))


def _document(scored: Scored) -> dict[str, Any]:
    metrics = {
        name: {key: round(value, 6) for key, value in found.items() if math.isfinite(value)}
        for name, found in scored.metrics.items()
    }
    return {
        "verdict": scored.verdict,
        "summary": scored.summary,
        "alarms": [asdict(alarm) for alarm in scored.alarms],
        "metrics": metrics,
        "notes": list(scored.notes),
    }


def _write_table(path: Path, table: pd.DataFrame) -> None:
    if len(table.columns):
        write_text(path, table.to_csv(index=False, float_format="%.6g", date_format="%Y-%m-%d", lineterminator="\n"))
    else:
        path.unlink(missing_ok=True)


def _write_bytes(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)

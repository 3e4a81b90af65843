"""A series that every version of the registered model can answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

_DAYS = 56
_AHEAD = 7


def example(folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Eight weeks that repeat themselves; further columns of the version's own data are 0, and told of a week more."""
    first = date(2015, 1, 5)
    further = dict.fromkeys((name for name in columns if name not in ("unique_id", "ds", "y")), 0.0)
    return [
        {
            "unique_id": "example",
            "ds": (first + timedelta(days=day)).isoformat(),
            "y": 10.0 + day % 7 if day < _DAYS else None,
            **further,
        }
        for day in range(_DAYS + (_AHEAD if further else 0))
    ]

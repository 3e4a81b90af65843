"""A series that every version of the registered model can answer."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

_DAYS = 56


def example(folder: Path) -> list[dict[str, Any]]:
    """Eight weeks that repeat themselves."""
    first = date(2015, 1, 5)
    return [
        {"unique_id": "example", "ds": (first + timedelta(days=day)).isoformat(), "y": 10.0 + day % 7}
        for day in range(_DAYS)
    ]

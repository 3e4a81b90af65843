"""Some of many, where all would take too long."""

from __future__ import annotations

import numpy as np


def evenly(count: int, limit: int) -> np.ndarray:
    """The numbers of up to `limit` of `count` examples, evenly over them and always the same, ascending."""
    kept = min(count, limit)
    return np.arange(kept) * count // max(kept, 1)

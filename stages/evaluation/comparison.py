"""The examples of the test split that two versions of a registered model are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.prepared import open_prepared
from ..data.store import SequenceStore
from .bootstrap import evenly


def test_examples(prepared: Path, limit: int) -> tuple[SequenceStore, np.ndarray]:
    """The store of a task's prepared data, and the rows of up to `limit` test examples, evenly over the split and
    always the same.
    """
    store, _ = open_prepared(prepared)
    rows = store.rows("test")
    return store, rows[evenly(len(rows), limit)]

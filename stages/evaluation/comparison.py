"""The examples of the test split that two versions of a registered model are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.prepared import open_prepared
from ..data.store import SequenceStore


def test_examples(prepared: Path, chosen: np.ndarray) -> tuple[SequenceStore, np.ndarray]:
    """The store of a task's prepared data, and the rows of the test examples that have these numbers in their split."""
    store, _ = open_prepared(prepared)
    return store, store.rows("test")[chosen]


def test_ids(prepared: Path) -> list[str]:
    """The ids of all test examples, in order."""
    store, _ = open_prepared(prepared)
    return list(store.values("id", store.rows("test")))

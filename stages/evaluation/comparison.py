"""The examples of the test split that two versions of a registered model are compared on."""

from __future__ import annotations

from collections.abc import Sequence
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


def example_groups(store: SequenceStore, rows: np.ndarray, names: Sequence[str] | None = None) -> np.ndarray:
    """Numbers, `(rows,)`, equal where examples are alike and drawn together in a bootstrap: those that `prepare.group`
    kept on one side of the split (clips of an actor, drawings of a hand).

    An example without a group is alike to those of its name in `names`, `(rows,)`; without names, to none.
    """
    if "group" not in store.columns and names is None:
        return np.arange(len(rows))
    groups = store.values("group", rows) if "group" in store.columns else [None] * len(rows)
    others = names if names is not None else map(str, rows.tolist())
    known = [("group", group) if group else ("name", other) for group, other in zip(groups, others, strict=True)]
    numbers = {key: number for number, key in enumerate(sorted(set(known)))}
    return np.array([numbers[key] for key in known], dtype=np.int64)

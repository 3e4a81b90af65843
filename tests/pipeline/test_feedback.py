"""A correction that was kept is in the store once, after a refresh and a `dvc repro`, and not before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.data.prepared import open_prepared
from stages.feedback.feedback import Feedback
from tests.pipeline.conftest import Clone, commit, make_clone, ran

pytestmark = pytest.mark.pipeline

CLASSES = ("clock", "cup")


def correct(clone: Clone, word: str, width: int) -> str:
    """Keep a drawing of that width; its key_id."""
    drawing = [[[0, width, 255], [0, 9, 60]]]
    kept = Feedback(clone.folder / "feedback", "sketch", CLASSES)
    kept.add({"word": word, "drawing": drawing, "recognized": False})
    days = (clone.folder / "feedback/sketch").rglob("*.ndjson")
    rows = [json.loads(line) for day in days for line in day.read_text(encoding="utf-8").splitlines()]
    return next(str(row["key_id"]) for row in rows if row["drawing"] == drawing)


def stored(clone: Clone) -> list[tuple[str, str, str]]:
    """Id, label and split of all drawings."""
    store, _ = open_prepared(clone.folder / "data/sketch/prepared")
    ids, labels, splits = ([str(store.value(n, row)) for row in range(len(store))] for n in ("id", "label", "split"))
    return list(zip(ids, labels, splits, strict=True))


def preprocess(clone: Clone) -> list[str]:
    return ran(clone.run("dvc", "repro", "preprocess@sketch"))


def test_a_correction_is_in_the_store_once_after_a_refresh(tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    clone = make_clone(tmp_path / "clone")
    clone.edit("params.yaml", "also: []", "also: [feedback/sketch]")
    first = correct(clone, "cup", 101)
    assert correct(clone, "cup", 101) == first
    clone.run("python", "-m", "stages.refresh", "sketch")
    assert preprocess(clone) == ["download@sketch", "preprocess@sketch"]
    own = [row for row in stored(clone) if row[0] != first]
    assert len(own) == 12 * 40
    assert stored(clone) == [*own, (first, "cup", "train")]
    commit(clone)
    assert clone.run("git", "ls-files", "feedback") == ""

    second = correct(clone, "clock", 102)
    correct(clone, "hammer", 103)  # no class
    assert preprocess(clone) == []
    assert "1 line more" in clone.run("python", "-m", "stages.refresh", "sketch")
    assert preprocess(clone) == ["download@sketch", "preprocess@sketch"]
    assert stored(clone) == [*own, (first, "cup", "train"), (second, "clock", "train")]

"""Examples to try: from the data of this checkout where there are any, else what the task itself makes up."""

from __future__ import annotations

import csv
import json
import secrets
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from stages.data.prepared import DESCRIPTION_NAME, open_prepared
from stages.data.store import SequenceStore
from stages.tasks.protocol import Task
from stages.tasks.sketch.data.strokes import strokes_of

SENTENCES, CLIPS = 6, 8
_LARGEST_CLIP = 20 * 2**20  # bytes
_DAYS = 400  # of a series


class Drawings:
    """Drawings of people that no version has trained on, by class; of no class where there is no prepared data."""

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}
        prepared = _prepared("sketch")
        if prepared is None:
            return
        self._store, described = prepared
        rows = self._store.rows("test")
        for name, row in zip(self._store.column("label")[rows], rows, strict=True):
            self._rows.setdefault(str(name), []).append(int(row))
        self._rows = {name: self._rows[name] for name in described["classes"] if name in self._rows}

    @property
    def classes(self) -> Sequence[str]:
        """The classes that there is a drawing of."""
        return list(self._rows)

    def any_of(self, name: str) -> str:
        """One of a class, drawn by lot, as JSON text. Raises KeyError for another class."""
        steps = self._store.sequence("values", secrets.choice(self._rows[name]))
        return json.dumps([stroke.T.tolist() for stroke in strokes_of(steps)])


def sentences() -> Sequence[str]:
    """Source texts of the test split, or one that any model reads."""
    prepared = _prepared("translation")
    if prepared is None:
        return [str(row["text"]) for row in Task("translation").rows().example(Path(), ["text"])]
    store, _ = prepared
    return [str(store.value("source_text", int(row))) for row in store.rows("test")[:SENTENCES]]


def series(folder: Path) -> Path:
    """A CSV in `folder` with the last days of the first series, or with made-up ones."""
    path, prepared = folder / "example.csv", _prepared("forecast")
    if prepared is None:
        rows = [(row["unique_id"], row["ds"], row["y"]) for row in Task("forecast").rows().example(folder, [])]
    else:
        store, _ = prepared
        values, first = store.sequence("values", 0), store.value("start", 0)
        name = store.value("id", 0)
        numbered = list(enumerate(values.tolist()))[-_DAYS:]
        rows = [(name, (first + timedelta(days=day)).isoformat(), round(value, 4)) for day, value in numbered]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("unique_id", "ds", "y"), *rows])
    return path


def clips(folder: Path) -> Sequence[Path]:
    """Copies in `folder` of a clip of each of the first classes, or a clip that is made there."""
    raw = Task("video").paths.raw / "clips"
    found = [min(kind.glob("*.*"), default=None) for kind in sorted(raw.glob("*")) if kind.is_dir()]
    small = [path for path in found if path and path.stat().st_size <= _LARGEST_CLIP][:CLIPS]
    if not small:
        return [Path(row["path"]) for row in Task("video").rows().example(folder, ["path"])]
    return [Path(shutil.copy(path, folder / f"{path.parent.name}{path.suffix}")) for path in small]


def _prepared(task: str) -> tuple[SequenceStore, dict[str, Any]] | None:
    folder = Task(task).paths.prepared
    return open_prepared(folder) if (folder / DESCRIPTION_NAME).is_file() else None

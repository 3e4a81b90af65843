"""Quick, Draw! files made by hand, and what is prepared from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from stages.preprocessing.preparation import Preparation
from stages.tasks.sketch.data.quickdraw import NPZ_SPLITS
from stages.tasks.sketch.params import PrepareParams
from stages.tasks.sketch.prepare.prepare import prepare


def params(**changes: Any) -> PrepareParams:
    block = {
        "seed": 1,
        "group": "",
        "validation_share": 0.1,
        "test_share": 0.2,
        "max_points": 50,
        "unrecognized": "keep",
        "other_word": "reject",
        "max_rejected_share": 1.0,
    }
    return PrepareParams.model_validate({**block, **changes})


def run(raw: Path, folder: Path, **changes: Any) -> dict[str, float]:
    return prepared(raw, folder, **changes).metrics()


def closing_line(raw: Path, folder: Path, **changes: Any) -> str:
    return prepared(raw, folder, **changes).summary("sketch", "x")


def prepared(raw: Path, folder: Path, **changes: Any) -> Preparation:
    with Preparation(folder, max_rejected_share=1.0) as output:
        prepare(raw, params(**changes), output)
    return output


def record(number: int, word: str = "cat", **changes: Any) -> dict[str, Any]:
    """A drawing that is like no other."""
    drawing = [[[0, 255, 100 + number % 90], [0, 0, 60 + number // 90]]]
    return {"word": word, "key_id": f"{word}{number}", "recognized": True, "drawing": drawing, **changes}


def write(raw: Path, name: str, records: list[Any], form: str = "simplified") -> None:
    (raw / form).mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    (raw / form / f"{name}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


def two_files(raw: Path) -> Path:
    """Forty cats and forty ice creams."""
    write(raw, "cat", [record(n) for n in range(40)])
    write(raw, "ice cream", [record(n, "ice cream") for n in range(800, 840)])
    return raw


def stored(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("sequences.arrow", "description.json", "rejected.parquet")]


def make_dirty(raw: Path) -> None:
    """Lines of all kinds, among them drawings that come twice, in one file or in two."""
    odd = ["", "{", record(3), record(700, key_id=None), record(7), record(701, drawing=record(9)["drawing"]), " "]
    write(raw, "cat", [record(n) for n in range(60)] + odd + [record(n) for n in range(60, 90)] + odd)
    write(raw, "dog", [record(n, "dog") for n in range(80, 140)], form="raw")
    save_npz(raw / "sketchrnn" / "pig.npz", **{name: [stroke_3(9 + n)] * 3 for n, name in enumerate(NPZ_SPLITS)})


def save_npz(path: Path, **splits: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, drawings in splits.items():
        arrays[name] = np.empty(len(drawings), dtype=object)
        arrays[name][:] = drawings
    np.savez(path, allow_pickle=True, **arrays)


def stroke_3(number: int) -> np.ndarray:
    return np.array([[255, 0, 0], [-number, 40, 1]], dtype=np.int16)

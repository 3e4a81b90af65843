"""The test drawings as a registered model is asked them, and what its answers are worth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from ....evaluation.bootstrap import Scores, accuracy
from ....evaluation.comparison import test_examples
from ..data.npz import UnreadableFile
from ..data.quickdraw import Chunk, Piece, raw_files


def examples(prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
    """Drawings as they came, with as many points as their file has: `drawing`, JSON text of `[[xs, ys], …]`.

    Raises ValueError where the raw files lack one of them.
    """
    store, rows = test_examples(prepared, limit)
    wanted = [str(store.value("id", row)) for row in rows]
    found = _drawings(raw, set(wanted))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"{raw}: {len(missing)} of {len(wanted)} test drawings are not there, such as {missing[0]}")
    return pd.DataFrame({"drawing": [found[name] for name in wanted]})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, limit: int) -> Scores:
    """Accuracy; each drawing is its own group."""
    store, rows = test_examples(prepared, limit)
    return accuracy(answers["label"].tolist(), [store.value("label", row) for row in rows])


def _drawings(raw: Path, wanted: set[str]) -> dict[str, str]:
    """Drawings by the id that preprocessing gave them: the first of each, as it took the first."""
    found: dict[str, str] = {}
    for file in raw_files(raw):
        lines = 0  # in the pieces before
        for piece in file.pieces():
            content = piece.content()
            for chunk in _chunks(piece, content):
                before = 0 if file.form == "sketchrnn" else lines
                for place, number in enumerate(chunk.collected.numbers.tolist()):
                    name = file.identity(chunk.keys[number], chunk.member, before + chunk.places[number])
                    if name in wanted and name not in found:
                        found[name] = _text(chunk, place)
            lines += content.count(b"\n")
    return found


def _chunks(piece: Piece, content: bytes) -> Iterator[Chunk]:
    with suppress(UnreadableFile):  # no test drawing comes from there
        yield from piece.chunks(content)


def _text(chunk: Chunk, place: int) -> str:
    ink = chunk.collected.ink
    assert ink is not None  # it holds the drawing that was asked for
    drawing = ink.take(np.array([place]))
    strokes = np.split(drawing.points, np.cumsum(drawing.strokes)[:-1])
    return json.dumps([stroke.T.tolist() for stroke in strokes])

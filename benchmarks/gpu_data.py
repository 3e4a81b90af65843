"""Data for `benchmarks.gpu`, made by the samples' generators without what only files need: stores as `preprocess`
leaves them, in the same shapes.

Google's simplification (Numba) and the locales' date formats (Babel) are not there: drawings are the generators' own
strokes, and dates are written in the formats of this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.data.files import write_json
from stages.data.prepared import DESCRIPTION_NAME
from stages.data.store import FILE_NAME, SequenceWriter, schema
from stages.tasks.sketch.data.strokes import SIDE
from stages.tasks.sketch.source.doodles import DOODLES
from stages.tasks.translation.data.tokenizer import CharacterTokenizer
from stages.tasks.video.source import sample as video_sample

PARAMS_FILE = Path(__file__).resolve().parents[1] / "params.yaml"
_FIRST_DAY, _DAYS = date(1970, 1, 1), 22_000
_DATE_FORMATS = ("%d %B %Y", "%B %d, %Y", "%A, %d %B %Y", "%d/%m/%y", "%a %d %b %Y", "%Y.%m.%d", "the %d of %B, %Y")
_VOCABULARY = 90


def make(task: str, folder: Path, count: int) -> Path:
    """Write `count` training sequences of a task, and an eighth as many for validation, to `folder`; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    columns, description, metadata = MAKERS[task](count + count // 8)
    kinds = schema({name: column.type for name, column in columns.items() if name != "length"})
    rows = len(columns["length"])
    columns["id"] = pa.array(map(str, range(rows)), pa.string())
    columns["split"] = pa.array((np.arange(rows) >= count).astype(np.int8))
    with SequenceWriter(folder / FILE_NAME, kinds, rows_per_batch=256, metadata=metadata) as writer:
        writer.extend(columns)
    write_json(folder / DESCRIPTION_NAME, description)
    return folder


# The store's columns, all but id and split; what description.json says; what a reader must know of the columns.
Made = tuple[dict[str, pa.Array], dict[str, Any], dict[str, Any]]


def _drawings(count: int) -> Made:
    classes = sorted(DOODLES)
    labels = [classes[number % len(classes)] for number in range(count)]
    values = [_steps(DOODLES[label](_generator(number))) for number, label in enumerate(labels)]
    columns = {"label": pa.array(labels, pa.string()), "values": _ragged(values), "length": _lengths(values)}
    return columns, {"classes": classes}, {}


def _steps(strokes: list[np.ndarray]) -> np.ndarray:
    """Strokes as steps x, y, pen_up, `(points, 3)` uint8: every second point, in a box of 255 pixels."""
    kept = [np.concatenate([stroke[:-1:2], stroke[-1:]]) for stroke in strokes]
    points = np.concatenate(kept)
    points = (points - points.min(axis=0)) * (SIDE / np.ptp(points, axis=0).max())
    steps = np.zeros((len(points), 3), dtype=np.uint8)
    steps[:, :2] = np.rint(points)
    steps[np.cumsum([len(stroke) for stroke in kept]) - 1, 2] = 1
    return steps


def _clips(count: int) -> Made:
    motions = list(video_sample.MOTIONS)
    clips = []
    for number in range(count):
        generator = _generator(number)
        digit = generator.random((8, 8), dtype=np.float32)  # the sample's own come with scikit-learn
        clips.append(video_sample.draw_clip(digit, motions[number % len(motions)], generator)[..., :1])
    columns = {
        "label": pa.array(np.arange(count, dtype=np.int32) % len(motions)),
        "frames": _ragged([clip.reshape(len(clip), -1) for clip in clips]),
        "length": _lengths(clips),
    }
    description = {"classes": motions, "decoding": {"channels": 1}}
    return columns, description, {"shape": clips[0].shape[1:]}


def _dates(count: int) -> Made:
    sources, targets = [], []
    for number in range(count):
        generator = _generator(number)
        day = _FIRST_DAY + timedelta(days=int(generator.integers(_DAYS)))
        sources.append(day.strftime(_DATE_FORMATS[int(generator.integers(len(_DATE_FORMATS)))]))
        targets.append(day.isoformat())
    columns: dict[str, pa.Array] = {}
    description: dict[str, Any] = {"shared_vocabulary": False}
    for side, texts in (("source", sources), ("target", targets)):
        tokenizer = CharacterTokenizer.train(texts, _VOCABULARY)
        columns[side] = _ragged([np.array(tokenizer.encode(text), dtype=np.int32) for text in texts])
        description[f"{side}_vocabulary_size"] = tokenizer.size
    columns["length"] = pa.array(columns["source"].value_lengths())
    return columns, description, {}


def _ragged(values: list[np.ndarray]) -> pa.Array:
    """Arrays of `(time,)` or `(time, numbers)` as a column of the store. (Its writer, row by row, needs pandas.)"""
    offsets = pa.array(np.cumsum([0, *map(len, values)], dtype=np.int32))
    flat = pa.array(np.concatenate([value.reshape(-1) for value in values]))
    steps = flat if values[0].ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values[0].shape[1])
    return pa.ListArray.from_arrays(offsets, steps)


def _lengths(values: list[np.ndarray]) -> pa.Array:
    return pa.array(np.fromiter(map(len, values), dtype=np.int32))


def _generator(number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[1, number]))


MAKERS: Mapping[str, Callable[[int], Made]] = {"sketch": _drawings, "video": _clips, "translation": _dates}

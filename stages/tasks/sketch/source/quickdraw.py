"""Quick, Draw!'s files: which there are, and what stands in them, a piece at a time.

The raw folder holds one folder a form, `simplified/`, `raw/` and `sketchrnn/`, and in it one file a category, named as
the category is. The label of a drawing is that name, whatever the form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import orjson

from .drawings import BadDrawing, Collected, collect
from .npz import read_npz
from .strokes import Ink

Form = Literal["simplified", "raw", "sketchrnn"]
SUFFIXES: dict[str, str] = {"simplified": ".ndjson", "raw": ".ndjson", "sketchrnn": ".npz"}
NPZ_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
MAX_LINE_BYTES = 4 * 2**20  # of one drawing as JSON; raw ones take some 10,000
_DRAWINGS_PER_CHUNK = 512
_BYTES_PER_CHUNK = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Record:
    """What a file says of a drawing, beside its points."""

    place: str  # where it stands in the file, such as "line 17"
    key: str | None = None
    word: str | None = None
    recognized: bool | None = None
    split: str | None = None  # where the file has splits of its own
    content: str = ""  # as it stands in the file, for the report of rejected records


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some hundred drawings of a file; the numbers in `collected` count `records`."""

    records: list[Record]
    collected: Collected


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file of the raw folder."""

    path: Path
    form: str
    category: str

    @property
    def name(self) -> str:
        """Its path within the raw folder."""
        return f"{self.form}/{self.path.name}"

    def chunks(self) -> Iterator[Chunk]:
        """Its drawings, in the file's order. Raises UnreadableFile for a file of which nothing can be used."""
        return _npz_chunks(self.path) if self.form == "sketchrnn" else _ndjson_chunks(self.path)


def raw_files(raw: Path) -> list[RawFile]:
    """All files of a raw folder, by category and form. Raises ValueError where there is none."""
    files = [
        RawFile(path, form, path.name.removesuffix(suffix))
        for form, suffix in SUFFIXES.items()
        for path in raw.glob(f"{form}/*{suffix}")
    ]
    if not files:
        raise ValueError(f"{raw}: no drawings; allowed are files such as simplified/cat.ndjson or sketchrnn/cat.npz")
    return sorted(files, key=lambda file: (file.category, file.form))


def _ndjson_chunks(path: Path) -> Iterator[Chunk]:
    """One JSON object a line: `word`, `key_id`, `recognized`, `drawing`."""
    records: list[Record] = []
    drawings: list[object] = []
    size = 0
    with path.open("rb") as file:
        for number, line in _lines(file):
            record, drawing = _parse(f"line {number}", line)
            records.append(record)
            drawings.append(drawing)
            size += len(line)
            if len(records) == _DRAWINGS_PER_CHUNK or size > _BYTES_PER_CHUNK:
                yield Chunk(records, collect(drawings))
                records, drawings, size = [], [], 0
    if records:
        yield Chunk(records, collect(drawings))


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank; of one that is too long, its beginning."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        rest = line
        while len(rest) == MAX_LINE_BYTES + 1 and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        if line.strip():
            yield number, line


def _parse(place: str, line: bytes) -> tuple[Record, object]:
    """A line's record and its drawing, or the reason why it has none."""
    content = line[:2000].decode("utf-8", errors="replace")
    if len(line) > MAX_LINE_BYTES:
        return Record(place, content=content), BadDrawing("line_too_long", f"longer than {MAX_LINE_BYTES} bytes")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Record(place, content=content), BadDrawing("not_json", str(error))
    if not isinstance(value, dict):
        reason = f"found {type(value).__name__}; allowed is an object with a drawing"
        return Record(place, content=content), BadDrawing("not_an_object", reason)
    key, word, recognized = value.get("key_id"), value.get("word"), value.get("recognized")
    record = Record(
        place,
        key=str(key) if isinstance(key, (str, int)) and key else None,
        word=word if isinstance(word, str) else None,
        recognized=recognized if isinstance(recognized, bool) else None,
        content=content,
    )
    return record, value.get("drawing")


def _npz_chunks(path: Path) -> Iterator[Chunk]:
    """Stroke-3 arrays `(steps, 3)`: the way from the point before, and 1 where the pen leaves the paper."""
    for member, arrays in read_npz(path, tuple(NPZ_SPLITS)).items():
        for start in range(0, len(arrays), _DRAWINGS_PER_CHUNK):
            some = arrays[start : start + _DRAWINGS_PER_CHUNK]
            places = (f"{member} {start + i}" for i in range(len(some)))
            records = [Record(place, split=NPZ_SPLITS[member]) for place in places]
            yield Chunk(records, from_stroke_3(some))


def from_stroke_3(arrays: list[np.ndarray]) -> Collected:
    """Stroke-3 arrays as Ink. A drawing begins at (0, 0): the first step already leads to its second point.

    (sketch-rnn's `lines_to_strokes` drops the row of the first point.)
    """
    bad: dict[int, BadDrawing] = {}
    numbers: list[int] = []
    points: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    for number, array in enumerate(arrays):
        problem = _stroke_3_problem(array)
        if problem is not None:
            bad[number] = problem
            continue
        way = np.zeros((len(array) + 1, 2))
        np.cumsum(array[:, :2], axis=0, out=way[1:])
        lifted = np.zeros(len(way), dtype=bool)
        lifted[1:] = array[:, 2] == 1
        lifted[-1] = True
        numbers.append(number)
        points.append(way)
        ends.append(lifted)
    if not numbers:
        return Collected(None, np.empty(0, np.int64), bad)
    last = np.flatnonzero(np.concatenate(ends))
    strokes = np.diff(last, prepend=-1)
    drawings = np.array([int(lifted.sum()) for lifted in ends], dtype=np.int64)
    return Collected(Ink(np.concatenate(points), strokes, drawings), np.array(numbers, dtype=np.int64), bad)


def _stroke_3_problem(array: np.ndarray) -> BadDrawing | None:
    if array.ndim != 2 or array.shape[1] != 3:
        return BadDrawing("malformed_drawing", f"an array of shape {array.shape}; allowed: (steps, 3)")
    if not len(array):
        return BadDrawing("no_points", "a drawing without steps; allowed is at least one")
    if not np.isin(array[:, 2], (0, 1)).all():
        return BadDrawing("malformed_drawing", "a pen state that is neither 0 nor 1")
    return None

"""Quick, Draw!'s files: which there are, and what stands in them, a piece at a time.

The raw folder holds one folder a form, `simplified/`, `raw/` and `sketchrnn/`, and in it one file a category, named as
the category is. The label of a drawing is that name, whatever the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import orjson

from .ink import Ink
from .npz import read_npz
from .reading import BadDrawing, Collected, Collector
from .scan import scan

Form = Literal["simplified", "raw", "sketchrnn"]
SUFFIXES: dict[str, str] = {"simplified": ".ndjson", "raw": ".ndjson", "sketchrnn": ".npz"}
NPZ_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
MAX_LINE_BYTES = 4 * 2**20  # of one drawing as JSON; raw ones take some 10,000
PIECE_BYTES = 4 * 2**20  # of an ndjson file that are read together: what one process works on
_DRAWINGS_PER_CHUNK = 1024
_DRAWING = b',"drawing":'  # the last entry of a line, as the host writes it


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some hundred drawings, and what the file says of each beside its points, in lists of one length.

    The numbers in `collected` count them.
    """

    member: str  # of the file: "line", or an npz file's "train", "valid" or "test"
    places: Sequence[int]  # the line within the piece, from 1; the place in the npz's array, from 0
    keys: Sequence[str | None]
    words: Sequence[str | None]
    recognized: Sequence[bool | None]
    contents: Sequence[bytes]  # as they stand in the file, for the report of rejected records
    collected: Collected


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file that can be read by itself: all of an npz file, some megabytes of an ndjson file."""

    file: RawFile
    start: int  # bytes; a line belongs to the piece in which it begins
    end: int

    def chunks(self, content: bytes) -> Iterator[Chunk]:
        """Its drawings, in the file's order. Raises UnreadableFile for a file of which nothing can be used."""
        return _npz_chunks(self.file.path) if self.file.form == "sketchrnn" else _ndjson_chunks(content)

    def content(self) -> bytes:
        """Its bytes, for `chunks`. Of a line that is longer than MAX_LINE_BYTES only the beginning, without its end."""
        with self.file.path.open("rb") as file:
            return file.read() if self.file.form == "sketchrnn" else _whole_lines(file, self.start, self.end)


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

    def identity(self, key: str | None, member: str, place: int) -> str:
        """What a drawing is called: by its key_id, or else by where it stands, `place` counted through the file."""
        return key or f"{self.name}: {member} {place}"

    def pieces(self) -> list[Piece]:
        """The pieces it is read in, in its order."""
        size = self.path.stat().st_size
        step = max(size, 1) if self.form == "sketchrnn" else PIECE_BYTES
        return [Piece(self, start, min(start + step, size)) for start in range(0, max(size, 1), step)]


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


def _ndjson_chunks(content: bytes) -> Iterator[Chunk]:
    """One JSON object a line: `word`, `key_id`, `recognized`, `drawing`."""
    lines = [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line and not line.isspace()]
    for start in range(0, len(lines), _DRAWINGS_PER_CHUNK):
        yield _ndjson_chunk(lines[start : start + _DRAWINGS_PER_CHUNK])


def _ndjson_chunk(lines: list[tuple[int, bytes]]) -> Chunk:
    places, contents = zip(*lines, strict=True)
    records, collected = _scanned(contents) or _collected(contents)
    keys, words, recognized = ([record.get(name) for record in records] for name in ("key_id", "word", "recognized"))
    return Chunk(
        "line",
        places,
        [str(key) if isinstance(key, (str, int)) and key else None for key in keys],
        [word if isinstance(word, str) else None for word in words],
        [known if isinstance(known, bool) else None for known in recognized],
        contents,
        collected,
    )


def _scanned(lines: Sequence[bytes]) -> tuple[list[dict[str, object]], Collected] | None:
    """The records without their drawings, and these, where all lines end in a drawing as the host writes it, or None.

    What stands before the drawing must be an object by itself once a brace closes it: so the drawing is no part of a
    text or of something nested.
    """
    beginnings, marks, drawings = zip(*(line.partition(_DRAWING) for line in lines), strict=True)
    if not all(marks) or max(map(len, lines)) > MAX_LINE_BYTES:
        return None
    try:
        records = [orjson.loads(beginning + b"}") for beginning in beginnings]
    except orjson.JSONDecodeError:
        return None
    if any("drawing" in record for record in records):
        return None
    ink = scan(list(drawings))
    return None if ink is None else (records, Collected(ink, np.arange(len(lines))))


def _collected(lines: Sequence[bytes]) -> tuple[list[dict[str, object]], Collected]:
    """The records without their drawings, and these, of lines of any kind."""
    collector = Collector()
    records: list[dict[str, object]] = []
    for line in lines:
        record: dict[str, object] = {}
        try:
            record = _parsed(line)
            collector.add(record.pop("drawing", None))
        except BadDrawing as error:
            collector.refuse(error)
        records.append(record)
    return records, collector.collected()


def _parsed(line: bytes) -> dict[str, object]:
    if len(line) > MAX_LINE_BYTES:
        raise BadDrawing("line_too_long", f"longer than {MAX_LINE_BYTES} bytes")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadDrawing("not_json", str(error)) from None
    if not isinstance(value, dict):
        reason = f"found {type(value).__name__}; allowed is an object with a drawing"
        raise BadDrawing("not_an_object", reason)
    return value


def _whole_lines(file: BinaryIO, start: int, end: int) -> bytes:
    """The lines that begin at or after byte `start` and before byte `end`."""
    file.seek(max(start - 1, 0))
    if start:
        _pass_line(file)
    parts = [file.read(end - file.tell())] if file.tell() < end else []
    if parts and not parts[0].endswith(b"\n"):
        parts.append(file.readline(MAX_LINE_BYTES + 1))
    return b"".join(parts)


def _pass_line(file: BinaryIO) -> None:
    """Go on to the beginning of the next line; of one without end, no more than a piece is in memory."""
    while (read := file.readline(PIECE_BYTES)) and not read.endswith(b"\n"):
        pass


def _npz_chunks(path: Path) -> Iterator[Chunk]:
    """Stroke-3 arrays `(steps, 3)`: the way from the point before, and 1 where the pen leaves the paper."""
    for member, arrays in read_npz(path, tuple(NPZ_SPLITS)).items():
        for start in range(0, len(arrays), _DRAWINGS_PER_CHUNK):
            some = arrays[start : start + _DRAWINGS_PER_CHUNK]
            nothing = [None] * len(some)
            places, contents = range(start, start + len(some)), [b""] * len(some)
            yield Chunk(member, places, nothing, nothing, nothing, contents, from_stroke_3(some))


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

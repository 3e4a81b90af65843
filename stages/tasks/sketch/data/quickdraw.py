"""Quick, Draw!'s files: which there are, and the records in them, a chunk of a file at a time.

The raw folder holds one folder a form, `simplified/`, `raw/` and `sketchrnn/`, and in it one file a category, named as
the category is. The label of a drawing is that name, whatever the form. Additional files (`data/additional.py`) hold
drawings of any category, whose label is their `word`.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from ....data.additional import additional_files, is_only_learned
from ....data.text import CONVERT, TextError, open_text, undecoded
from .npz import UnreadableFile, read_npz
from .parse import BadDrawing, ParsedDrawings, parse, stroke_3
from .scan import scan

SUFFIXES: dict[str, str] = {"simplified": ".ndjson", "raw": ".ndjson", "sketchrnn": ".npz"}
NPZ_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
MAX_LINE_BYTES = 4 * 2**20  # of one drawing as JSON; raw ones take some 10,000
CHUNK_BYTES = 4 * 2**20  # of an ndjson file that are read together: what one process works on
_RECORDS_AT_ONCE, _STEPS_AT_ONCE = 1024, 2**21  # the latter bounds memory where an npz holds long drawings
_DRAWING = b',"drawing":'  # the last entry of a line, as the host writes it


@dataclass(frozen=True, slots=True)
class Records:
    """Some hundred records of a file: their drawings, and what it says of each beside its points, in lists of one
    length. The numbers in `drawings` count them.
    """

    member: str  # of the file: "line", or an npz file's "train", "valid" or "test"
    places: Sequence[int]  # the line within the chunk, from 1; the place in the npz's array, from 0
    keys: Sequence[str | None]
    words: Sequence[str | None]
    fields: Sequence[Mapping[str, Any]]  # all that stands beside the drawing
    recognized: Sequence[bool | None]
    contents: Sequence[bytes]  # as they stand in the file, for the report of rejected records
    drawings: ParsedDrawings


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file that can be read by itself: all of an npz file, some megabytes of an ndjson file."""

    file: RawFile
    start: int  # bytes; a line belongs to the chunk in which it begins
    end: int

    def records(self, content: bytes) -> Iterator[Records]:
        """Its records, in the file's order. Raises UnreadableFile for a file of which nothing can be used."""
        return _npz_records(self.file.path) if self.file.form == "sketchrnn" else _ndjson_records(content)

    def content(self) -> bytes:
        """Its bytes, for `records`. A line that is longer than MAX_LINE_BYTES is cut off after them."""
        with self.file.path.open("rb") as file:
            if self.file.form == "sketchrnn":
                return file.read()
            content = _whole_lines(file, self.start, self.end)
            return content if self.start else content.removeprefix(BOM_UTF8)


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file of the raw folder."""

    path: Path
    form: str  # its folder: "simplified", "raw", "sketchrnn", or that of additional files
    category: str  # empty: each drawing's own, its word

    @property
    def only_learned(self) -> bool:
        """Whether its drawings may measure nothing."""
        return is_only_learned(f"{self.form}/")

    @property
    def name(self) -> str:
        """Its path within the raw folder."""
        return f"{self.form}/{self.path.name}"

    def identity(self, key: str | None, member: str, place: int) -> str:
        """What a drawing is called: by its key_id, or else by where it stands, `place` counted through the file."""
        return key or f"{self.name}: {member} {place}"

    def as_utf8(self, folder: Path) -> RawFile:
        """The file, or where its lines are packed or in another encoding a copy in `folder` that `chunks` can be of.

        Raises UnreadableFile where it is damaged or no text.
        """
        if self.form == "sketchrnn":
            return self
        copy = folder / self.name
        try:
            with open_text(self.path, option="") as text:
                if text.encoding == "utf-8" and not text.packed:
                    return self
                copy.parent.mkdir(parents=True, exist_ok=True)
                with copy.open("wb") as file:
                    file.writelines(text.chunks())
        except TextError as error:
            raise UnreadableFile(str(error)) from None
        return replace(self, path=copy)

    def chunks(self) -> list[Chunk]:
        """The chunks it is read in, in its order; of a file `as_utf8`."""
        size = self.path.stat().st_size
        step = max(size, 1) if self.form == "sketchrnn" else CHUNK_BYTES
        return [Chunk(self, start, min(start + step, size)) for start in range(0, max(size, 1), step)]


def raw_files(raw: Path) -> list[RawFile]:
    """All files of a raw folder, by category and form, then the additional ones.

    Raises ValueError where there is none of a category.
    """
    files = [
        RawFile(path, form, path.name.removesuffix(suffix))
        for form, suffix in SUFFIXES.items()
        for path in raw.glob(f"{form}/*{suffix}")
    ]
    if not files:
        raise ValueError(f"{raw}: no drawings; allowed: files such as simplified/cat.ndjson or sketchrnn/cat.npz")
    additional = [
        RawFile(path, path.parent.relative_to(raw).as_posix(), "") for path in additional_files(raw, "*.ndjson")
    ]
    return [*sorted(files, key=lambda file: (file.category, file.form)), *additional]


def _ndjson_records(content: bytes) -> Iterator[Records]:
    """One JSON object a line: `word`, `key_id`, `recognized`, `drawing`."""
    lines = [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line and not line.isspace()]
    for start in range(0, len(lines), _RECORDS_AT_ONCE):
        places, contents = zip(*lines[start : start + _RECORDS_AT_ONCE], strict=True)
        records, drawings = _scanned(contents) or _parsed(contents)
        keys, words, recognized = ([each.get(name) for each in records] for name in ("key_id", "word", "recognized"))
        yield Records(
            "line",
            places,
            [str(key) if isinstance(key, (str, int)) and key else None for key in keys],
            [word if isinstance(word, str) else None for word in words],
            records,
            [known if isinstance(known, bool) else None for known in recognized],
            contents,
            drawings,
        )


def _scanned(lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], ParsedDrawings] | None:
    """What `_parsed` gives, in a quarter of its time, where all lines end in a drawing as the host writes it, or None.

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
    strokes = scan(drawings)
    return None if strokes is None else (records, ParsedDrawings(strokes, np.arange(len(lines))))


def _parsed(lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], ParsedDrawings]:
    """The records without their drawings, and these, of lines of any kind."""
    records: list[dict[str, Any]] = []

    def drawings() -> Iterator[object]:
        for line in lines:
            record = _record(line)
            yield record.pop("drawing", None)
            records.append(record)

    return records, parse(drawings())


def _record(line: bytes) -> dict[str, Any]:
    """The object in a line; one with a BadDrawing where there is none."""
    if len(line) > MAX_LINE_BYTES:
        return {"drawing": BadDrawing("line_too_long", f"longer than {MAX_LINE_BYTES} bytes")}
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if byte := undecoded(line.decode("utf-8", errors="surrogateescape")):
            return {"drawing": BadDrawing("undecodable", f"{byte}; allowed: UTF-8; {CONVERT}")}
        return {"drawing": BadDrawing("not_json", str(error))}
    if not isinstance(value, dict):
        reason = f"found {type(value).__name__}; allowed: an object with a drawing"
        return {"drawing": BadDrawing("not_an_object", reason)}
    return value


def _whole_lines(file: BinaryIO, start: int, end: int) -> bytes:
    """The lines that begin at or after byte `start` and before byte `end`."""
    file.seek(max(start - 1, 0))
    # Go on to the beginning of the next line; of one without end, no more than a chunk is in memory.
    while start and (read := file.readline(CHUNK_BYTES)) and not read.endswith(b"\n"):
        pass
    content = file.read(end - file.tell()) if file.tell() < end else b""
    if content and not content.endswith(b"\n"):
        content += file.readline(MAX_LINE_BYTES + 1)
    return content


def _npz_records(path: Path) -> Iterator[Records]:
    for member, arrays in read_npz(path, tuple(NPZ_SPLITS)).items():
        bounds = _batches([len(array) for array in arrays])
        for start, end in pairwise(bounds):
            some = arrays[start:end]
            nothing, fields = [None] * len(some), [dict[str, Any]()] * len(some)
            places, contents = range(start, start + len(some)), [b""] * len(some)
            yield Records(member, places, nothing, nothing, fields, nothing, contents, parse(some, stroke_3))


def _batches(lengths: Sequence[int]) -> list[int]:
    """Where batches of drawings of some lengths begin, and the end."""
    bounds, steps = [0], 0
    for number, length in enumerate(lengths):
        steps += length
        if number > bounds[-1] and (number - bounds[-1] == _RECORDS_AT_ONCE or steps > _STEPS_AT_ONCE):
            bounds.append(number)
            steps = length
    return [*bounds, len(lengths)] if lengths else bounds

"""Quick, Draw!'s files → the sequence store: a canonical sequence a drawing, each drawing once, on a side it keeps.

What a drawing comes to by itself is worked out a piece of a file at a time, by as many processes as there are cores
(`parts.py`). This process takes the parts in the files' order, leaves out what it has seen before, and writes: so the
number of processes changes no byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from tqdm import tqdm

from ....data.store import SPLITS, SequenceWriter
from ....paths import resume_folder
from ....preprocessing.preparation import Preparation
from ....preprocessing.workers import Crash, cores, ordered_map
from ..data.quickdraw import Piece, RawFile, raw_files
from ..params import PrepareParams
from .parts import REPAIRS, VALUES, Reader
from .seen import Seen

COLUMNS = {"label": pa.string(), "word": pa.string(), "values": VALUES}
STEP = ["x", "y", "pen_up"]
_BYTES_PER_PROCESS = 64 * 2**20  # of raw files: it takes a process as long to start and to load what Numba made
_REPORTED = ["member", "place", "key", "reason", "content"]


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Read every file of the raw folder.

    A drawing is rejected where nothing can be made of it (`drawings.py`), where it was seen before (by `key_id`, or by
    its canonical points) and, as `params` says, where Google's classifier did not recognise it or its word is another
    one than the file's. Raises ValueError where a category is left without training drawings: a classifier without
    one of the classes that were asked for is of no use.

    Parts lie in `.resume/` until all is done, so that a killed process's successor goes on with those that it left.
    """
    files = raw_files(raw)
    pieces = [piece for file in files for piece in file.pieces()]
    parts = resume_folder() / "sketch-parts"
    parts.mkdir(parents=True, exist_ok=True)
    processes = min(cores(), 1 + sum(piece.end - piece.start for piece in pieces) // _BYTES_PER_PROCESS)
    writing = _Writing(output)
    with output.store(COLUMNS, metadata={"step": STEP}) as writer:
        reader = Reader(params, parts)
        made = _parts(pieces, reader, processes)
        for piece, path, lines in tqdm(made, desc="drawings", total=len(pieces), unit="piece", disable=None):
            try:
                writing.write(piece, path, lines, writer)
            except FileNotFoundError:  # another prepare of the same files has ended and cleared up
                writing.write(piece, *reader(piece), writer)
    classes = sorted({file.category for file in files})
    for name in classes:
        if not writing.counts[name, "train"]:
            reason = writing.reasons.get(name, "its file holds none")
            raise ValueError(f"{raw}: category {name!r}: no drawing to train on; the last was refused since: {reason}")
    output.describe(
        {
            "classes": classes,
            "step": STEP,
            "max_points": params.max_points,
            "drawings": {name: {split: writing.counts[name, split] for split in SPLITS} for name in classes},
        }
    )
    _clear(parts)


def _clear(parts: Path) -> None:
    """Remove all parts, those too that earlier runs have left and whose data or code is gone.

    A prepare that goes on beside this one makes its own again; what a living process is writing stays.
    """
    for path in parts.iterdir():
        process = path.suffix[1:]
        if not (process.isdigit() and psutil.pid_exists(int(process))):
            path.unlink(missing_ok=True)


def _parts(pieces: list[Piece], reader: Reader, processes: int) -> Iterator[tuple[Piece, Path, int]]:
    """The part of each piece and its number of lines, in order. Raises RuntimeError where a piece kills its process."""
    if processes == 1:
        yield from ((piece, *reader(piece)) for piece in pieces)
        return
    for piece, result in ordered_map(reader, pieces, processes=processes - 1, join_in=True):
        if isinstance(result, Crash):
            raise RuntimeError(f"{piece.file.name}, bytes {piece.start} to {piece.end}: {result}")
        yield piece, *result


class _Writing:
    """What must be known from one part to the next: the drawings that were seen, and counts."""

    def __init__(self, output: Preparation) -> None:
        self._output = output
        self._keys = Seen(output.folder)
        self._drawings = Seen(output.folder)
        self._lines: Counter[str] = Counter()  # file → lines in the pieces before this one
        self.counts: Counter[tuple[str, str]] = Counter()
        self.reasons: dict[str, str] = {}  # category → why its last rejected drawing was rejected

    def write(self, piece: Piece, path: Path, lines: int, writer: SequenceWriter) -> None:
        """Append the drawings of one part to the store, or reject them."""
        with pa.memory_map(str(path)) as file:
            part = pa.ipc.open_file(file).read_all()
            rules = part["rule"].to_numpy()
            refused = {int(row): str(rules[row]) for row in np.flatnonzero(part["rule"].is_valid())}
            fine = np.flatnonzero(part["rule"].is_null())
            keyed = fine[part["key_digest"].is_valid().to_numpy()[fine]]
            digests = part["key_digest"].fill_null(0).to_numpy()
            twice = keyed[self._keys.add(digests[keyed])]
            refused.update(dict.fromkeys(twice.tolist(), "duplicate_key"))
            fine = np.setdiff1d(fine, twice, assume_unique=True)
            again = self._drawings.add(part["points_digest"].to_numpy()[fine])
            refused.update(dict.fromkeys(fine[again].tolist(), "duplicate_points"))
            if refused:
                numbers = sorted(refused)
                records = part.select(_REPORTED).take(pa.array(numbers)).to_pylist()
                for number, record in zip(numbers, records, strict=True):
                    self._reject(piece.file, record, refused[number])
            self._append(piece.file, part.take(pa.array(fine[~again])), writer)
        if piece.file.form != "sketchrnn":
            self._lines[piece.file.name] += lines

    def _append(self, file: RawFile, part: pa.Table, writer: SequenceWriter) -> None:
        sides = part["split"].to_numpy()
        for code, split in enumerate(SPLITS):
            self.counts[file.category, split] += int((sides == code).sum())
        repairs = part["repairs"].to_numpy()
        for bit, rule in enumerate(REPAIRS):
            count = int((repairs >> bit & 1).sum())
            if count:
                self._output.repair(rule, count)
        identities = part["key"]
        if identities.null_count:
            keys, members, places = (part[name].to_pylist() for name in ("key", "member", "place"))
            before = self._lines[file.name]
            named = [
                file.identity(key, member, before + place)
                for key, member, place in zip(keys, members, places, strict=True)
            ]
            identities = pa.array(named, pa.string())
        writer.extend(
            {
                "id": identities,
                "split": part["split"],
                "length": part["length"],
                "label": pa.repeat(pa.scalar(file.category), len(part)),
                "word": part["word"],
                "values": part["values"],
            }
        )

    def _reject(self, file: RawFile, record: dict[str, Any], rule: str) -> None:
        seen_before = {
            "duplicate_key": f"key_id {record['key']} was seen before",
            "duplicate_points": "the same points, after simplification, were seen before",
        }
        reason = record["reason"] or seen_before[rule]
        self.reasons[file.category] = reason
        identity = file.name
        if record["member"] is not None:
            place = self._lines[file.name] + record["place"]
            identity = file.identity(record["key"], record["member"], place)
            reason = f"{record['member']} {place}: {reason}"
        self._output.reject(id=identity, file=file.name, rule=rule, reason=reason, content=record["content"] or "")

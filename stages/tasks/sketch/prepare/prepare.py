"""Quick, Draw!'s files → the sequence store: a canonical sequence a drawing, each drawing once, in a split it keeps.

What a drawing comes to by itself is worked out a chunk of a file at a time, by as many processes as there are cores
(`chunks.py`). This process takes the prepared chunks in the files' order, leaves out what it has seen before, and
writes: so the number of processes changes no byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from ....data.store import SPLITS, SequenceWriter
from ....preprocessing.groups import REPAIR as NO_GROUP
from ....preprocessing.kept_parts import KeptParts
from ....preprocessing.preparation import Preparation
from ....preprocessing.workers import Crash, cores, ordered_map
from ....progress_bar import track
from ..data.npz import UnreadableFile
from ..data.quickdraw import Chunk, RawFile, raw_files
from ..params import PrepareParams
from .chunks import LIBRARIES, REPAIRS, VALUES, PreparedChunk, prepare_chunk, read_chunk
from .dedup import DigestSet

COLUMNS = {"label": pa.string(), "word": pa.string(), "values": VALUES}
STEP = ["x", "y", "pen_up"]
_BYTES_PER_PROCESS = 64 * 2**20  # of raw files: it takes a process as long to start and to load what Numba made
_REPORTED = ["member", "place", "key", "reason", "content"]


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Read every file of the raw folder.

    A drawing is rejected where nothing can be made of it (`parse.py`, `canonical.py`), where it was seen before (by
    `key_id`, or by its canonical points) and, as `params` says, where Google's classifier did not recognise it or its
    word is another one than the file's. Raises ValueError where a category is left without training drawings: a
    classifier without one of the classes that were asked for is of no use.

    Prepared chunks are kept: the next preparation, also a killed one's successor, makes those that are new.
    """
    output.units("drawings")
    files = raw_files(raw)
    facts = params.model_dump(mode="json", exclude={"max_rejected_share"})
    parts = KeptParts.made_by([prepare_chunk.__module__], libraries=LIBRARIES, facts=facts)
    merge = _Merge(output, ["group"] if params.group else [])
    columns = {**COLUMNS, "group": pa.string()} if params.group else COLUMNS
    with TemporaryDirectory(dir=output.folder) as copies, output.store(columns, metadata={"step": STEP}) as writer:
        parts = parts.or_in(Path(copies, "parts"))
        chunks = merge.chunks(files, Path(copies))
        processes = min(cores(), 1 + sum(chunk.end - chunk.start for chunk in chunks) // _BYTES_PER_PROCESS)
        prepared = _prepared(chunks, partial(prepare_chunk, params=params, parts=parts), processes)
        found = 0
        for chunk, place in track(prepared, "drawings", unit="chunks", total=len(chunks)):
            table, kept = read_chunk(chunk, place, params, parts)
            merge.add(chunk, table, place.lines, writer)
            found += kept
    parts.prune()
    output.count_kept(found, len(chunks), "chunks")
    classes = sorted({file.category for file in files})
    for name in classes:
        if not merge.counts[name, "train"]:
            reason = merge.reasons.get(name, "its file holds none")
            raise ValueError(f"{raw}: category {name!r}: no drawing to train on; the first was refused since: {reason}")
    if params.group:
        _require_all_splits(merge.counts, params.group)
    output.describe(
        {
            "classes": classes,
            "step": STEP,
            "max_points": params.max_points,
            "drawings": {name: {split: merge.counts[name, split] for split in SPLITS} for name in classes},
        }
    )


def _require_all_splits(counts: Counter[tuple[str, str]], group: str) -> None:
    """Raise ValueError where whole groups, drawn by their shares, leave a split without drawings."""
    found = {split: sum(count for (_, own), count in counts.items() if own == split) for split in SPLITS}
    if not all(found.values()):
        stands = ", ".join(f"{split} {count}" for split, count in found.items())
        raise ValueError(
            f"prepare.group: {group!r} makes too few groups to draw from ({stands}); more groups, or "
            "another prepare.seed, are needed"
        )


def _prepared(
    chunks: list[Chunk], function: Callable[[Chunk], PreparedChunk], processes: int
) -> Iterator[tuple[Chunk, PreparedChunk]]:
    """Each chunk and where it lies prepared, in order. Raises RuntimeError where one kills its process."""
    if processes == 1:
        yield from ((chunk, function(chunk)) for chunk in chunks)
        return
    for chunk, result in ordered_map(function, chunks, processes=processes - 1, join_in=True):
        if isinstance(result, Crash):
            raise RuntimeError(f"{chunk.file.name}, bytes {chunk.start} to {chunk.end}: {result}")
        yield chunk, result


class _Merge:
    """What must be known from one prepared chunk to the next: the drawings that were seen, and counts."""

    def __init__(self, output: Preparation, group: list[str]) -> None:
        self._output = output
        self._group = group  # the column, where groups are asked for
        self._keys = DigestSet(output.folder)
        self._drawings = DigestSet(output.folder)
        self._lines: Counter[str] = Counter()  # file → lines in the chunks before this one
        self.counts: Counter[tuple[str, str]] = Counter()  # (category, split) → drawings
        self.reasons: dict[str, str] = {}  # category → why its first rejected drawing was rejected

    def chunks(self, files: Sequence[RawFile], copies: Path) -> list[Chunk]:
        """The chunks of all files, in their order; a file that cannot be read is rejected."""
        chunks: list[Chunk] = []
        for file in files:
            try:
                chunks += file.as_utf8(copies).chunks()
            except UnreadableFile as error:
                self._reject(file, dict.fromkeys(_REPORTED) | {"reason": str(error)}, "unreadable_file")
        return chunks

    def add(self, chunk: Chunk, table: pa.Table, lines: int, writer: SequenceWriter) -> None:
        """Append the drawings of one prepared chunk to the store, or reject them."""
        fine = table["rule"].is_null().to_numpy().copy()
        again: dict[int, str] = {}  # row → why it is refused, though it could be taken by itself
        for name, seen, rule in (
            ("key_digest", self._keys, "duplicate_key"),
            ("points_digest", self._drawings, "duplicate_points"),
        ):
            rows = np.flatnonzero(fine & table[name].is_valid().to_numpy())
            repeated = rows[seen.add(table[name].fill_null(0).to_numpy()[rows])]
            again |= dict.fromkeys(repeated.tolist(), rule)
            fine[repeated] = False
        if not fine.all():  # or else nothing is copied
            refused = np.flatnonzero(~fine)
            records = table.select([*_REPORTED, "rule"]).take(refused).to_pylist()
            for row, record in zip(refused.tolist(), records, strict=True):
                self._reject(chunk.file, record, again.get(row, record["rule"]))
            table = table.filter(pa.array(fine))
        self._append(chunk.file, table, writer)
        if chunk.file.form != "sketchrnn":
            self._lines[chunk.file.name] += lines

    def _append(self, file: RawFile, table: pa.Table, writer: SequenceWriter) -> None:
        for split, count in zip(SPLITS, np.bincount(table["split"], minlength=len(SPLITS)).tolist(), strict=True):
            self.counts[file.category, split] += count
        identities = table["key"]
        if identities.null_count:
            places = (table["place"].to_numpy() + self._lines[file.name]).tolist()
            named = map(file.identity, table["key"].to_pylist(), table["member"].to_pylist(), places)
            identities = pa.array(list(named), pa.string())
        repairs = table["repairs"].to_numpy()
        for bit, rule in enumerate(REPAIRS):
            repaired = np.flatnonzero(repairs >> bit & 1)
            if len(repaired):
                example = f"{file.name}, {identities[int(repaired[0])]}"
                self._output.repair(rule, len(repaired), example=example, doubtful=rule == NO_GROUP)
        columns = {name: table[name] for name in ("split", "length", "word", "values", *self._group)}
        writer.extend({**columns, "id": identities, "label": pa.repeat(file.category, len(table))})

    def _reject(self, file: RawFile, record: dict[str, Any], rule: str) -> None:
        seen_before = {
            "duplicate_key": f"key_id {record['key']} was seen before",
            "duplicate_points": "the same points, after simplification, were seen before",
        }
        reason = record["reason"] or seen_before[rule]
        self.reasons.setdefault(file.category, reason)
        identity = file.name
        if record["member"] is not None:
            place = self._lines[file.name] + record["place"]
            identity = file.identity(record["key"], record["member"], place)
            if record["key"]:  # or else the identity says it
                reason = f"{record['member']} {place}: {reason}"
        self._output.reject(id=identity, file=file.name, rule=rule, reason=reason, content=record["content"] or "")

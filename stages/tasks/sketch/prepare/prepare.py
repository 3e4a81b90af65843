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
import pyarrow.compute as pc

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
_REPORTED = ["member", "place", "key", "word", "reason", "content"]
_SEEN_BEFORE = {
    "duplicate_key": "key_id {key} was seen before",
    "duplicate_points": "the same points, after simplification, were seen before",
    "in_test_set": "its key_id or the same points are in the test split; allowed: new drawings",
    "unknown_class": "its word is {word!r}; allowed: one of the categories",
}


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Read every file of the raw folder.

    A drawing is rejected where nothing can be made of it (`parse.py`, `canonical.py`), where it was seen before (by
    `key_id`, or by its canonical points) and, as `params` says, where Google's classifier did not recognise it or its
    word is another one than the file's; of an additional file also where its word is no category, or the same drawing
    stands in the test split, which comes first. Raises ValueError where a category is left without training drawings: a
    classifier without one of the classes that were asked for is of no use.

    Prepared chunks are kept: the next preparation, also a killed one's successor, makes those that are new.
    """
    output.units("drawings")
    files = raw_files(raw)
    facts = params.model_dump(mode="json", exclude={"max_rejected_share"})
    parts = KeptParts.made_by([prepare_chunk.__module__], libraries=LIBRARIES, facts=facts)
    classes = sorted({file.category for file in files} - {""})
    merge = _Merge(output, ["group"] if params.group else [], classes, additional=any(not f.category for f in files))
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
    for name in classes:
        if not merge.counts[name, "train"]:
            reason = merge.reasons.get(name, "its file has none")
            raise ValueError(f"{raw}: category {name!r}: no drawing to train on; the first one was refused: {reason}")
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
            f"prepare.group: {group!r} makes too few groups for the splits ({stands}); more groups, or "
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


_DIGESTS = {"key_digest": "duplicate_key", "points_digest": "duplicate_points"}  # column → what a repeated one breaks


def _digests(table: pa.Table, name: str, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The chosen rows that have a digest in this column, and their digests."""
    rows = np.flatnonzero(chosen & table[name].is_valid().to_numpy())
    return rows, table[name].fill_null(0).to_numpy()[rows]


def _by_word(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    for word in pc.unique(table["word"]).to_pylist():
        yield word, table.filter(pc.equal(table["word"], word))


class _Merge:
    """What must be known from one prepared chunk to the next: the drawings that were seen, and counts."""

    def __init__(self, output: Preparation, group: list[str], classes: list[str], *, additional: bool) -> None:
        self._output = output
        self._group = group  # the column, where groups are asked for
        self._keys = DigestSet(output.folder)
        self._drawings = DigestSet(output.folder)
        self._classes = pa.array(classes, pa.string())
        # Of the test split, where there are additional files: none of it may be learned from.
        self._tested = {name: DigestSet(output.folder) for name in _DIGESTS} if additional else {}
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

        def refuse(rows: np.ndarray, rule: str) -> None:
            again.update(dict.fromkeys(rows.tolist(), rule))
            fine[rows] = False

        if not chunk.file.category:
            known = pc.is_in(table["word"], value_set=self._classes).to_numpy()
            refuse(np.flatnonzero(fine & ~known), "unknown_class")
        if chunk.file.only_learned:
            for name, tested in self._tested.items():
                rows, digests = _digests(table, name, fine)
                refuse(rows[tested.holds(digests)], "in_test_set")
        for (name, rule), seen in zip(_DIGESTS.items(), (self._keys, self._drawings), strict=True):
            rows, digests = _digests(table, name, fine)
            refuse(rows[seen.add(digests)], rule)
        if not fine.all():  # or else nothing is copied
            refused = np.flatnonzero(~fine)
            records = table.select([*_REPORTED, "rule"]).take(refused).to_pylist()
            for row, record in zip(refused.tolist(), records, strict=True):
                self._reject(chunk.file, record, again.get(row, record["rule"]))
            table = table.filter(pa.array(fine))
        for name, tested in self._tested.items():
            tested.add(_digests(table, name, table["split"].to_numpy() == SPLITS.index("test"))[1])
        self._append(chunk.file, table, writer)
        if chunk.file.form != "sketchrnn":
            self._lines[chunk.file.name] += lines

    def _append(self, file: RawFile, table: pa.Table, writer: SequenceWriter) -> None:
        labels = pa.repeat(file.category, len(table)) if file.category else table["word"]
        for name, some in [(file.category, table)] if file.category else _by_word(table):
            for split, count in zip(SPLITS, np.bincount(some["split"], minlength=len(SPLITS)).tolist(), strict=True):
                self.counts[name, split] += count
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
        writer.extend({**columns, "id": identities, "label": labels})

    def _reject(self, file: RawFile, record: dict[str, Any], rule: str) -> None:
        reason = record["reason"] or _SEEN_BEFORE[rule].format_map(record)
        self.reasons.setdefault(file.category, reason)
        identity = file.name
        if record["member"] is not None:
            place = self._lines[file.name] + record["place"]
            identity = file.identity(record["key"], record["member"], place)
            if record["key"]:  # or else the identity says it
                reason = f"{record['member']} {place}: {reason}"
        self._output.reject(id=identity, file=file.name, rule=rule, reason=reason, content=record["content"] or "")

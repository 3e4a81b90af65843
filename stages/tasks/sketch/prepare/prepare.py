"""Quick, Draw!'s files → the sequence store: a canonical sequence a drawing, each drawing once, on a side it keeps."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from ....preparation import Preparation
from ....sequences import SPLITS, SequenceWriter, ragged
from ..params import PrepareParams
from ..source.drawings import canonical_readings
from ..source.npz import UnreadableFile
from ..source.quickdraw import Chunk, RawFile, Record, raw_files

COLUMNS = {"label": pa.string(), "word": pa.string(), "values": ragged("uint8", 3)}
STEP = ["x", "y", "pen_up"]


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Read every file of the raw folder.

    A drawing is rejected where nothing can be made of it (`drawings.py`), where it was seen before (by `key_id`, or by
    its canonical points) and, as `params` says, where Google's classifier did not recognise it or its word is another
    one than the file's. Raises ValueError where a category is left without training drawings: a classifier without
    one of the classes that were asked for is of no use.
    """
    files = raw_files(raw)
    writing = _Writing(params, output)
    with output.store(COLUMNS, metadata={"step": STEP}) as writer:
        for file in tqdm(files, desc="drawings", unit="file", disable=None):
            try:
                for chunk in file.chunks():
                    writing.write(file, chunk, writer)
            except UnreadableFile as error:
                output.reject(id=file.name, file=file.name, rule="unreadable_file", reason=str(error))
                writing.reasons[file.category] = str(error)
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


class _Writing:
    """What must be known from one chunk to the next: the drawings that were seen, as 8 bytes each, and counts."""

    def __init__(self, params: PrepareParams, output: Preparation) -> None:
        self._params = params
        self._output = output
        self._keys: set[bytes] = set()
        self._drawings: set[bytes] = set()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.reasons: dict[str, str] = {}  # category → why its last rejected drawing was rejected

    def write(self, file: RawFile, chunk: Chunk, writer: SequenceWriter) -> None:
        """Append the drawings of one chunk to the store, or reject them."""
        readings = canonical_readings(chunk.collected, max_points=self._params.max_points)
        for number, error in sorted(readings.bad.items()):
            self._reject(file, chunk.records[number], error.rule, str(error))
        for number, steps in zip(readings.good.tolist(), readings.sequences(), strict=True):
            record = chunk.records[number]
            points = _digest(steps.tobytes())
            refused = self._refused(file, record, points)
            if refused is not None:
                self._reject(file, record, *refused)
                continue
            self._count_repairs(file, record, [rule for rule, mended in readings.repaired.items() if number in mended])
            split = record.split or self._side(record.key.encode() if record.key else points)
            self.counts[file.category, split] += 1
            writer.append(
                {
                    "id": record.key or f"{file.name}: {record.place}",
                    "split": split,
                    "length": len(steps),
                    "label": file.category,
                    "word": record.word,
                    "values": steps,
                }
            )

    def _refused(self, file: RawFile, record: Record, points: bytes) -> tuple[str, str] | None:
        """The rule that speaks against a drawing that could be read, and the reason."""
        if record.recognized is False and self._params.unrecognized == "drop":
            return "unrecognized", "recognized is false, and prepare.unrecognized is drop"
        another = record.word is not None and record.word != file.category
        if another and self._params.other_word == "reject":
            return "other_word", (
                f"the word is {record.word!r}, the file's category {file.category!r}; "
                "prepare.other_word: keep would take it under the file's category"
            )
        if record.key is not None:
            key = _digest(record.key.encode())
            if key in self._keys:
                return "duplicate_key", f"key_id {record.key} was seen before"
            self._keys.add(key)
        if points in self._drawings:
            return "duplicate_points", "the same points, after simplification, were seen before"
        self._drawings.add(points)
        return None

    def _count_repairs(self, file: RawFile, record: Record, rules: list[str]) -> None:
        if record.key is None and record.split is None:
            rules.append("no_key_id")
        if record.word is not None and record.word != file.category:
            rules.append("other_word")
        for rule in rules:
            self._output.repair(rule)

    def _side(self, name: bytes) -> str:
        """The split that a drawing's name falls to: the same one for ever, however many drawings come to it."""
        draw = int.from_bytes(_digest(name, self._params.seed), "big") / 2**64
        if draw < self._params.test_share:
            return "test"
        return "validation" if draw < self._params.test_share + self._params.validation_share else "train"

    def _reject(self, file: RawFile, record: Record, rule: str, reason: str) -> None:
        self.reasons[file.category] = reason
        identity = record.key or f"{file.name}: {record.place}"
        where = f"{record.place}: {reason}"
        self._output.reject(id=identity, file=file.name, rule=rule, reason=where, content=record.content)


def _digest(content: bytes, seed: int = 0) -> bytes:
    return hashlib.blake2b(content, digest_size=8, key=seed.to_bytes(8, "big")).digest()

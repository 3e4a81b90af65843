"""A piece of a raw file → a part: what every one of its drawings comes to by itself, whatever stands in other pieces.

A part is an Arrow file, named after all that decides what it holds: the piece's bytes, the params, this code. So parts
are made by several processes in any order, and one that a killed process has left is found again.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from ....data.store import SPLITS, ragged
from ..data.npz import UnreadableFile
from ..data.quickdraw import NPZ_SPLITS, Chunk, Piece
from ..data.reading import canonical_readings
from ..data.simplify import compiled
from ..params import PrepareParams

REPAIRS = ("empty_stroke", "time_backwards", "negative_coordinates", "one_point_stroke", "no_key_id", "other_word")
VALUES = ragged(np.uint8, 3)
PART = pa.schema(
    {
        "member": pa.string(),  # see Chunk; null where the row stands for the file
        "place": pa.int32(),
        "key": pa.string(),
        "word": pa.string(),
        "length": pa.int32(),
        "values": VALUES,
        "split": pa.int8(),  # the place in SPLITS
        "key_digest": pa.uint64(),  # null where there is no key
        "points_digest": pa.uint64(),
        "repairs": pa.uint8(),  # a bit for each of REPAIRS
        "rule": pa.string(),  # null for a drawing that can be taken; values, split and digests mean nothing elsewhere
        "reason": pa.string(),
        "content": pa.string(),
    }
)
_CONTENT_BYTES = 2000  # of a rejected record that are kept


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes parts; what it is made of crosses into other processes."""

    params: PrepareParams
    folder: Path

    def __call__(self, piece: Piece) -> tuple[Path, int]:
        """The piece's part, made now or found, and how many lines it has."""
        content = piece.content()
        path = self.folder / f"{self._name(piece, content)}.arrow"
        if not path.is_file():
            temporary = path.with_suffix(f".{os.getpid()}")
            with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, PART) as writer:
                try:
                    for chunk in piece.chunks(content):
                        writer.write_batch(_batch(chunk, piece.file.category, self.params))
                except UnreadableFile as error:
                    writer.write_batch(_unreadable(error))
            temporary.replace(path)
        unended = bool(content) and not content.endswith(b"\n")
        return path, content.count(b"\n") + unended

    def _name(self, piece: Piece, content: bytes) -> str:
        facts = (
            piece.file.form,
            piece.file.category,
            self.params.model_dump_json(exclude={"max_rejected_share"}),
            _code(),
        )
        digest = hashlib.sha256(content)  # twice as fast as blake2b where the processor has instructions for it
        digest.update(repr(facts).encode())
        return digest.hexdigest()


@cache
def _code() -> str:
    """What decides, beside data and params, what a part holds: this code and the libraries under it."""
    digest = hashlib.blake2b(digest_size=16)
    task = Path(__file__).parent.parent
    for path in sorted([*task.glob("source/*.py"), *task.glob("prepare/*.py")]):
        digest.update(f"{path.relative_to(task)}\0{path.read_text(encoding='utf-8')}\0".encode())
    digest.update(
        repr([version(name) for name in ("numba", "numpy", "orjson", "pyarrow")] + [sys.version_info[:2]]).encode()
    )
    return digest.hexdigest()


def _batch(chunk: Chunk, category: str, params: PrepareParams) -> pa.RecordBatch:
    """All drawings of a chunk, the refused ones without values."""
    readings = canonical_readings(chunk.collected, max_points=params.max_points)
    total = len(chunk.places)
    lengths = np.zeros(total, dtype=np.int32)
    lengths[readings.good] = readings.lengths
    refused = {number: (error.rule, str(error)) for number, error in readings.bad.items()}
    for number, (recognized, word) in enumerate(zip(chunk.recognized, chunk.words, strict=True)):
        if (recognized is False or word != category) and number not in refused:
            problem = _refused(recognized, word, category, params)
            if problem is not None:
                refused[number] = problem
    repairs = _repairs(chunk, category, readings.repaired, total)
    digests = np.zeros(total, dtype=np.uint64)
    digests[readings.good] = points_digests(readings.steps, readings.lengths)
    none = [None] * total
    rules, reasons, contents = (list[str | None](none) for _ in range(3))
    for number, (rule, reason) in refused.items():
        rules[number], reasons[number] = rule, reason
        contents[number] = chunk.contents[number][:_CONTENT_BYTES].decode("utf-8", errors="replace")
    keys = pa.array(chunk.keys, pa.string())
    columns = {
        "member": pa.repeat(chunk.member, total),
        "place": np.array(chunk.places, np.int32),
        "key": keys,
        "word": chunk.words,
        "length": lengths,
        "values": ragged_array(readings.steps, lengths),
        "split": _sides(chunk, readings.good, readings.steps, readings.lengths, params),
        "key_digest": _key_digests(keys),
        "points_digest": digests,
        "repairs": repairs,
        "rule": rules,
        "reason": reasons,
        "content": contents,
    }
    return pa.RecordBatch.from_arrays([_array(columns[field.name], field.type) for field in PART], schema=PART)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _unreadable(error: UnreadableFile) -> pa.RecordBatch:
    """The one row of a file of which nothing can be used."""
    row = {"rule": "unreadable_file", "reason": str(error), "content": ""}
    return pa.RecordBatch.from_pylist([row], schema=PART)


def ragged_array(steps: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """`(steps, 3)` uint8, and how many each row has, as a column of the store."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(steps.reshape(-1)), 3)
    return pa.ListArray.from_arrays(pa.array(offsets), vectors).cast(VALUES)


def _refused(recognized: bool | None, word: str | None, category: str, params: PrepareParams) -> tuple[str, str] | None:
    """The rule that speaks against a drawing that could be read, and the reason."""
    if recognized is False and params.unrecognized == "drop":
        return "unrecognized", "recognized is false, and prepare.unrecognized is drop"
    if word is not None and word != category and params.other_word == "reject":
        return "other_word", (
            f"the word is {word!r}, the file's category {category!r}; "
            "prepare.other_word: keep would take it under the file's category"
        )
    return None


def _repairs(chunk: Chunk, category: str, repaired: Mapping[str, frozenset[int]], total: int) -> np.ndarray:
    """`(total,)` uint8: a bit for each of REPAIRS."""
    flags = np.zeros(total, dtype=np.uint8)
    for bit, rule in enumerate(REPAIRS):
        numbers = list(repaired.get(rule, ()))
        if rule == "no_key_id" and chunk.member == "line":
            numbers = [number for number, key in enumerate(chunk.keys) if key is None]
        elif rule == "other_word":
            numbers = [number for number, word in enumerate(chunk.words) if word not in (None, category)]
        flags[numbers] |= np.uint8(1 << bit)
    return flags


def _sides(chunk: Chunk, good: np.ndarray, steps: np.ndarray, lengths: np.ndarray, params: PrepareParams) -> np.ndarray:
    """`(total,)` int8: the place in SPLITS that each drawing falls to: the same one for ever, whatever else comes in.

    The file's own, or else by a hash of the key_id, or else of the points.
    """
    sides = np.zeros(len(chunk.places), dtype=np.int8)
    if chunk.member in NPZ_SPLITS:
        sides[:] = SPLITS.index(NPZ_SPLITS[chunk.member])
        return sides
    names: list[bytes] = [b"" if key is None else key.encode() for key in chunk.keys]
    ends = np.cumsum(lengths)
    for place in np.flatnonzero([chunk.keys[number] is None for number in good.tolist()]).tolist():
        names[good[place]] = _digest(steps[ends[place] - lengths[place] : ends[place]].tobytes(), _UNSEEDED)
    hasher = _hasher(params.seed)
    draws = np.frombuffer(b"".join(_digest(name, hasher) for name in names), ">u8") / 2**64
    sides[draws < params.test_share + params.validation_share] = SPLITS.index("validation")
    sides[draws < params.test_share] = SPLITS.index("test")
    return sides


def _hasher(seed: int) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "big"))


_UNSEEDED = _hasher(0)


def _digest(content: bytes, hasher: hashlib.blake2b) -> bytes:
    """8 bytes, of a copy: half the time of a new hasher with its key."""
    own = hasher.copy()
    own.update(content)
    return own.digest()


def _key_digests(keys: pa.Array) -> pa.Array:
    """64 bits that stand for each key_id: the number that it is, as the host's are, or else a hash. Null for a null."""
    with suppress(pa.ArrowInvalid):
        numbers = keys.cast(pa.uint64())
        other = compute.or_(compute.equal(numbers, 0), compute.greater_equal(numbers, pa.scalar(10**19, pa.uint64())))
        if numbers.cast(pa.string()).equals(keys) and not compute.any(other).as_py():
            return numbers
    return pa.array([None if key is None else _key_digest(key) for key in keys.to_pylist()], pa.uint64())


def _key_digest(key: str) -> int:
    """64 bits that stand for a key_id: the number that it is, as the host's are, or else a hash."""
    if key.isascii() and key.isdigit() and len(key) < 20 and key[0] != "0":
        return int(key)
    return int.from_bytes(_digest(key.encode(), _UNSEEDED), "big")


@compiled
def points_digests(steps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`(drawings,)` uint64: a hash of each drawing's steps, a sum over steps of mixed bits of step and place.

    (The mixing is splitmix64's: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".)
    """
    digests = np.empty(len(lengths), np.uint64)
    start = 0
    for drawing, length in enumerate(lengths):
        total = np.uint64(length)
        for place in range(length):
            x, y, pen = steps[start + place]
            total += _mixed(np.uint64(place << 24 | pen << 16 | y << 8 | x))
        digests[drawing] = _mixed(total)
        start += length
    return digests


@compiled
def _mixed(bits: np.uint64) -> np.uint64:
    bits += np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))

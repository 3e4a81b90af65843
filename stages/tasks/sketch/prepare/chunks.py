"""A chunk of a raw file → a prepared chunk: what each of its drawings comes to by itself, whatever stands elsewhere.

A prepared chunk is a kept part (`preprocessing/kept_parts.py`), under a hash of all that decides what it holds: the
chunk's bytes, the params, this code. So they are made by several processes in any order, and one that a killed process,
or an earlier preparation, has left is found again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from ....data.store import SPLITS, ragged
from ....preprocessing.groups import REPAIR as NO_GROUP
from ....preprocessing.groups import find_group, is_pattern
from ..data.canonical import CanonicalDrawings, canonicalize
from ..data.npz import UnreadableFile
from ..data.quickdraw import NPZ_SPLITS, Chunk, RawFile, Records
from ..data.simplify import compiled
from ..params import PrepareParams

if TYPE_CHECKING:
    from ....preprocessing.kept_parts import KeptParts

LIBRARIES = ("llvmlite", "numba", "numpy", "orjson", "pyarrow")  # that decide what a prepared chunk holds
REPAIRS = (
    "empty_stroke",
    "time_backwards",
    "negative_coordinates",
    "one_point_stroke",
    "no_key_id",
    "other_word",
    NO_GROUP,
)
VALUES = ragged(np.uint8, 3)
SCHEMA = pa.schema(
    {
        "member": pa.string(),  # see Records; null where the row stands for the file
        "place": pa.int32(),
        "key": pa.string(),
        "word": pa.string(),
        "group": pa.string(),  # null where there is none, or none is asked for
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


class PreparedChunk(NamedTuple):
    """Where a prepared chunk is to be found."""

    key: str  # that it is kept under
    lines: int  # of the chunk
    kept: bool  # from before


def prepare_chunk(chunk: Chunk, params: PrepareParams, parts: KeptParts) -> PreparedChunk:
    """See to it that the chunk is prepared."""
    content = chunk.content()
    key = parts.key(hashlib.sha256(content).hexdigest(), chunk.file.form, chunk.file.category)
    kept = parts.holds(key)
    if not kept:
        _make(chunk, content, params, parts, key)
    unended = bool(content) and not content.endswith(b"\n")
    return PreparedChunk(key, content.count(b"\n") + unended, kept)


def read_chunk(chunk: Chunk, prepared: PreparedChunk, params: PrepareParams, parts: KeptParts) -> tuple[pa.Table, bool]:
    """What a prepared chunk holds, by SCHEMA, and whether it was kept from before. Made anew where it has gone."""
    table = parts.find(prepared.key)
    if table is not None:
        return table, prepared.kept
    return _make(chunk, chunk.content(), params, parts, prepared.key), False


def _make(chunk: Chunk, content: bytes, params: PrepareParams, parts: KeptParts, key: str) -> pa.Table:
    """What a chunk comes to. It is kept, but where its file cannot be read: the machine may be to blame."""
    batches = []
    try:
        for records in chunk.records(content):
            batches.append(_batch(records, chunk.file, params))
    except UnreadableFile as error:  # a row that stands for the whole file
        row = {"rule": "unreadable_file", "reason": str(error), "content": ""}
        return pa.Table.from_batches([*batches, pa.RecordBatch.from_pylist([row], schema=SCHEMA)], SCHEMA)
    table = pa.Table.from_batches(batches, SCHEMA)
    parts.keep(key, table)
    return table


def _batch(records: Records, file: RawFile, params: PrepareParams) -> pa.RecordBatch:
    """All drawings of some records, the refused ones without values."""
    drawings = canonicalize(records.drawings, max_points=params.max_points)
    total = len(records.places)
    lengths = np.zeros(total, dtype=np.int32)
    lengths[drawings.good] = drawings.lengths
    digests = np.zeros(total, dtype=np.uint64)
    digests[drawings.good] = points_digests(drawings.steps, drawings.lengths)
    rules, reasons, contents = (list[str | None]([None] * total) for _ in range(3))
    for number, (rule, reason) in _refused(records, drawings, file, params).items():
        rules[number], reasons[number] = rule, reason
        contents[number] = records.contents[number][:_CONTENT_BYTES].decode("utf-8", errors="backslashreplace")
    keys = pa.array(records.keys, pa.string())
    groups = _groups(records, params.group)
    columns = {
        "member": pa.repeat(records.member, total),
        "place": records.places,
        "key": keys,
        "word": records.words,
        "group": groups,
        "length": lengths,
        "values": ragged_array(drawings.steps, lengths),
        "split": _splits(records, drawings, groups, file, params),
        "key_digest": _key_digests(keys),
        "points_digest": digests,
        "repairs": _repairs(records, drawings, file, groups if params.group else None),
        "rule": rules,
        "reason": reasons,
        "content": contents,
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def ragged_array(steps: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """`(steps, 3)` uint8, and how many each row has, as a column of the store."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(steps.reshape(-1)), 3)
    return pa.ListArray.from_arrays(pa.array(offsets), vectors).cast(VALUES)


def _refused(
    records: Records, drawings: CanonicalDrawings, file: RawFile, params: PrepareParams
) -> dict[int, tuple[str, str]]:
    """Why drawings are refused, by their number: the rule and the reason."""
    refused = {number: (error.rule, str(error)) for number, error in drawings.bad.items()}
    for number, (recognized, word) in enumerate(zip(records.recognized, records.words, strict=True)):
        if number in refused:
            continue
        if not file.category:  # `recognized` says what our model guessed, the word what a person has said
            if word is None:
                refused[number] = "no_word", "found no word; allowed: an object whose word names what the drawing shows"
        elif recognized is False and params.unrecognized == "drop":
            refused[number] = "unrecognized", "recognized is false, and prepare.unrecognized is drop"
        elif word not in (None, file.category) and params.other_word == "reject":
            refused[number] = (
                "other_word",
                (
                    f"the word is {word!r}, but the file's category is {file.category!r}; "
                    "prepare.other_word: keep would use the file's category instead"
                ),
            )
    return refused


def _groups(records: Records, group: str) -> list[str | None]:
    """The group of each record: a field's value, or what a pattern finds in the key_id."""
    if not group:
        return [None] * len(records.places)
    if is_pattern(group):
        return [None if key is None else find_group(group, key) for key in records.keys]
    values = [fields.get(group) for fields in records.fields]
    return [(str(value).strip() or None) if isinstance(value, (str, int, float)) else None for value in values]


def _repairs(
    records: Records, drawings: CanonicalDrawings, file: RawFile, groups: list[str | None] | None
) -> np.ndarray:
    """`(records,)` uint8: a bit for each of REPAIRS. `groups` is None where none are asked for."""
    repaired = {
        **drawings.repaired,
        "no_key_id": [n for n, key in enumerate(records.keys) if key is None and records.member == "line"],
        "other_word": [
            n for n, word in enumerate(records.words) if file.category and word not in (None, file.category)
        ],
        NO_GROUP: [n for n, group in enumerate(groups or []) if group is None and not file.only_learned],
    }
    flags = np.zeros(len(records.places), dtype=np.uint8)
    for bit, rule in enumerate(REPAIRS):
        flags[repaired.get(rule, [])] |= np.uint8(1 << bit)
    return flags


def _splits(
    records: Records, drawings: CanonicalDrawings, groups: list[str | None], file: RawFile, params: PrepareParams
) -> np.ndarray:
    """`(records,)` int8: the place in SPLITS that each drawing falls to, the same for ever, whatever else comes in.

    The file's own, train for what may measure nothing, or else by a hash of the group, or else of the key_id, or else
    of the points.
    """
    if records.member in NPZ_SPLITS:
        return np.full(len(records.places), SPLITS.index(NPZ_SPLITS[records.member]), np.int8)
    if file.only_learned:
        return np.full(len(records.places), SPLITS.index("train"), np.int8)
    names = [(group or key or "").encode() for group, key in zip(groups, records.keys, strict=True)]
    if not all(names):
        for number, steps in zip(drawings.good.tolist(), drawings.sequences(), strict=True):
            names[number] = names[number] or _digest(steps.tobytes(), _UNSEEDED)
    hasher = _hasher(params.seed)
    draws = np.frombuffer(b"".join(_digest(name, hasher) for name in names), ">u8") / 2**64
    splits = np.full(len(names), SPLITS.index("train"), np.int8)
    splits[draws < params.test_share + params.validation_share] = SPLITS.index("validation")
    splits[draws < params.test_share] = SPLITS.index("test")
    return splits


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
        if numbers.cast(pa.string()).equals(keys):
            return numbers
    return pa.array([None if key is None else _key_digest(key) for key in keys.to_pylist()], pa.uint64())


def _key_digest(key: str) -> int:
    if len(key) <= 20 and key.isdecimal() and str(int(key)) == key and int(key) < 2**64:
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

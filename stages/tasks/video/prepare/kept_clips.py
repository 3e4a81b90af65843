"""A clip read, or found as an earlier preparation has read it: by its bytes, and all else that decides its frames."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..data.columns import GPU
from ..data.decode import Clip, ClipError

if TYPE_CHECKING:
    from ....preprocessing.kept_parts import KeptParts

# Refusals that a full, busy or locked machine may give as well; the next preparation tries again.
NOT_KEPT = ("no_file", "not_a_clip", "too_slow")
_FRAMES = "frames"
_CONTENT = pa.schema({"content": pa.large_binary()})
_METADATA = b"clip"


def read_or_find(
    parts: KeptParts, folder: Path, read: Callable[[str], Clip | ClipError], name: str
) -> tuple[Clip | ClipError, bool]:
    """`read(name)`, of the clip `folder/name`, and whether it was kept from before."""
    try:
        with (folder / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return read(name), False
    # FFmpeg looks at the ending, too, when it guesses the format. A GPU gives the features other last bits.
    key = parts.key(content, PurePosixPath(name).suffix, *([GPU] if os.environ.get(GPU) else []))
    table = parts.find(key)
    if table is not None:
        return from_table(table), True
    clip = read(name)
    if not (isinstance(clip, ClipError) and clip.rule in NOT_KEPT):
        parts.keep(key, to_table(clip))
    return clip, False


def to_table(clip: Clip | ClipError) -> pa.Table:
    """A row for each array, with its bytes; what else there is to know stands in the schema's metadata."""
    arrays: dict[str, np.ndarray] = {}
    rest: dict[str, Any] = {}
    if isinstance(clip, ClipError):
        rest = {"rule": clip.rule, "reason": str(clip)}
    else:
        arrays, rest = {_FRAMES: clip.frames, **clip.features}, {"repairs": clip.repairs}
    rest["arrays"] = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    # Of buffers, since `pa.array` would import pandas in every process that decodes.
    offsets = np.cumsum([0, *(array.nbytes for array in arrays.values())], dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(array.tobytes() for array in arrays.values()))]
    content = pa.Array.from_buffers(pa.large_binary(), len(arrays), buffers)
    return pa.Table.from_arrays([content], schema=_CONTENT.with_metadata({_METADATA: json.dumps(rest).encode()}))


def from_table(table: pa.Table) -> Clip | ClipError:
    """What `to_table` was given; its arrays are read-only."""
    rest = json.loads(table.schema.metadata[_METADATA])
    if "rule" in rest:
        return ClipError(rest["rule"], rest["reason"])
    arrays = {
        name: np.frombuffer(content.as_buffer(), kind).reshape(shape)
        for (name, kind, shape), content in zip(rest["arrays"], table["content"], strict=True)
    }
    return Clip(arrays.pop(_FRAMES), tuple(rest["repairs"]), arrays)

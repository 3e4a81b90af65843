"""Rows for any version of the registered model: clips, folders and lists of clips, and an example."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...data.text import AUTO, printable
from ...serving.lines import lines

INPUT = "a clip, a folder of clips, or list.txt with a path or an address a line"
KEY = {"path": "string"}
CHUNK_SIZE = 64

_MAX_LINE = 2**14  # characters of an address


def groups(source: str, encoding: str = AUTO) -> Iterator[list[dict[str, Any]]]:
    """A clip at a time; those of a folder and of the folders in it in alphabetical order, without hidden files."""
    if source.endswith((".txt", ".txt.gz")):
        for _, text, fault in lines(source, encoding, max_length=_MAX_LINE):
            if fault:
                yield [{"path": printable(text), "error": fault}]
            elif path := text.strip():
                yield [{"path": path}]
    elif Path(source).is_dir():
        for folder, folders, names in os.walk(source):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from ([{"path": os.path.join(folder, n)}] for n in sorted(names) if not n.startswith("."))  # noqa: PTH118
    else:
        yield [{"path": source}]


def example(folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """A clip, made in `folder`: a white bar that moves right."""
    import numpy as np

    from .source.sample import SIDE, encode

    frames = np.zeros((16, SIDE, SIDE, 3), dtype=np.uint8)
    for time, frame in enumerate(frames):
        frame[:, 2 * time : 2 * time + 4] = 255
    path = folder / "example.mp4"
    encode(frames, path)
    return [{"path": str(path)}]

"""Rows for any version of the registered model: clips, folders and lists of clips, and an example."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...data.text import AUTO, printable
from ...serving.lines import is_stream, lines, suffix

INPUT = "a clip, a folder of clips, or list.txt (or a pipe) with one path or address per line"
KEY = {"path": "string"}
CHUNK_SIZE = 64

_MAX_LINE = 2**14  # characters of an address
_ENDINGS = (  # of containers and bare streams that FFmpeg reads
    "3g2 3gp asf avi divx dv f4v flv gif h264 h265 hevc ivf m1v m2ts m2v m4v mjpeg mjpg mkv mov mp4 mpe mpeg mpg mts "
    "mxf nut ogg ogv qt rm rmvb ts vob webm wmv y4m"
)


def groups(source: str, encoding: str = AUTO) -> Iterator[list[dict[str, Any]]]:
    """A clip at a time; those of a folder and of the folders in it in alphabetical order, without hidden files.

    What lies in a folder and is no clip by its ending is passed over, in one line on standard error; any file is taken
    that is named. Raises ValueError for a folder without clips.
    """
    if suffix(source) == ".txt" or is_stream(source):
        for _, text, fault in lines(source, encoding, max_length=_MAX_LINE):
            if fault:
                yield [{"path": printable(text), "error": fault}]
            elif path := text.strip():
                yield [_row(path)]
    elif Path(source).is_dir():
        yield from ([_row(path)] for path in _clips(source))
    else:
        yield [_row(source)]


def _row(path: str) -> dict[str, Any]:
    """A clip, and its folder's name, which says what it shows where there are folders of classes."""
    folder = path.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
    return {"path": path, "target": folder} if folder else {"path": path}


def _clips(source: str) -> Iterator[str]:
    clips, others = 0, []
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = os.path.join(folder, name)  # noqa: PTH118
            if name.rpartition(".")[2].lower() in _ENDINGS.split():
                clips += 1
                yield path
            else:
                others.append(path)
    if not clips:
        seen = f", but {len(others):,} files with other endings, such as {others[0]}" if others else ""
        raise ValueError(f"{source}: found no clip{seen}; allowed endings: {_ENDINGS}")
    if others:
        print(f"{len(others):,} skipped, whose ending is not that of a clip, such as {others[0]}", file=sys.stderr)


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

"""The raw folder: clips below `clips/CLASS/`, UCF-101's split lists in `ucfTrainTestlist/`."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from ....data.text import open_text

CLIPS = "clips"
LISTS = "ucfTrainTestlist"
_MAX_LINE = 1024  # characters


def find_clips(folder: Path) -> list[str]:
    """All files below a folder by their relative path, in alphabetical order; hidden ones are passed over."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; the download stage puts the clips there")
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def label_of(clip: str) -> str:
    """The class of a clip: the name of the folder that it lies in; empty where it lies in none."""
    return PurePosixPath(clip).parent.name


def read_list(path: Path) -> list[str]:
    """The clips, as `CLASS/clip.avi`, of an official list; its lines end in CRLF, and in a train list with a number.

    Raises ValueError for any other line: a clip on the wrong side of a split would spoil what is measured.
    """
    with open_text(path, option="") as text:
        lines = list(text.lines(max_length=_MAX_LINE))
    clips = []
    for row, line, fault in lines:
        if fault:
            raise ValueError(f"{path}, line {row}: {fault}")
        match = re.fullmatch(r"([^./\\\s][^/\\\s]*/[^./\\\s][^/\\\s]*)(\s+\d+)?", line.strip())
        if match:
            clips.append(match.group(1))
        elif line.strip():
            found = f"found {line[:100]!r}; allowed: CLASS/clip.avi and, in a train list, a number"
            raise ValueError(f"{path}, line {row}: {found}")
    return clips

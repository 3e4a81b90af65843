"""The raw folder: clips below `clips/CLASS/`, UCF-101's split lists in `ucfTrainTestlist/`.

Additional clips (`data/additional.py`) lie below `also/SPLIT/N/CLASS/`.
`left_out.json`, where there is one, says what was not fetched, name → reason.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from ....data.additional import DRAWN, FOLDER, TRAIN, additional_files
from ....data.text import open_text

CLIPS = "clips"
LISTS = "ucfTrainTestlist"
LEFT_OUT = "left_out.json"
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
_MAX_LINE = 1024  # characters
_ADDITIONAL = re.compile(f"{FOLDER}/({TRAIN}|{DRAWN})/[0-9]+/")


def clip_path(clip: str) -> str:
    """Where a clip lies in the raw folder, by its id: an additional one by that path itself, any other below CLIPS."""
    return clip if _ADDITIONAL.match(clip) else f"{CLIPS}/{clip}"


def find_additional(raw: Path, classes: Collection[str]) -> dict[str, Place]:
    """All additional clips by their ids; a folder of one of the `classes` is a class, however the others lie."""
    clips: dict[str, list[str]] = {}
    for path in additional_files(raw, "**/*"):
        name = path.relative_to(raw).as_posix()
        if match := _ADDITIONAL.match(name):
            clips.setdefault(match.group(), []).append(name.removeprefix(match.group()))
    return {
        f"{folder}{clip}": place for folder, some in clips.items() for clip, place in places_of(some, classes).items()
    }


def find_clips(folder: Path) -> list[str]:
    """All files below a folder by their relative path, in alphabetical order; hidden ones are passed over."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; the download stage puts the clips there")
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


class Place(NamedTuple):
    """Where a clip lies."""

    label: str  # its class; empty where it lies in no class's folder
    name: str  # its path within that folder


def places_of(clips: Iterable[str], classes: Collection[str] = ()) -> dict[str, Place]:
    """Clip → class and name: `UCF-101/Punch/actor/c.avi` is `actor/c.avi` of Punch where all clips lie in UCF-101.

    A class is the first folder that a clip lies in, below those that hold all of them; what a class's folder is divided
    into (actors, scenes) is no class. A folder of `classes` is one, also where it holds all. Raises ValueError where
    the folders are a publisher's splits, which hold classes of one name.
    """
    paths = {clip: clip.split("/") for clip in clips}
    depth = 0
    while True:
        folders = {path[depth] for path in paths.values() if len(path) > depth + 1}
        deeper = any(len(path) > depth + 2 for path in paths.values())
        if len(folders) != 1 or not deeper or folders & set(classes):
            break
        depth += 1
    splits = sorted(name for name in folders if name.lower() in _SPLITS)
    if len(splits) > 1:
        found = f"found the folders {', '.join(splits)}, which are a publisher's splits"
        raise ValueError(f"{found}; allowed: CLASS/clip.ext, so one of them, or all clips of a class in one folder")
    return {
        clip: Place(path[depth], "/".join(path[depth + 1 :])) if len(path) > depth + 1 else Place("", path[-1])
        for clip, path in paths.items()
    }


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
        if len(line) > _MAX_LINE:  # cut, so what follows is unknown
            found = f"found a line of more than {_MAX_LINE:,} characters; allowed: at most that many"
            raise ValueError(f"{path}, line {row}: {found}")
        match = re.fullmatch(r"([^./\\\s][^/\\\s]*/[^./\\\s][^/\\\s]*)(\s+\d+)?", line.strip())
        if match:
            clips.append(match.group(1))
        elif line.strip():
            found = f"found {line[:100]!r}; allowed: CLASS/clip.avi and, in a train list, a number"
            raise ValueError(f"{path}, line {row}: {found}")
    return clips

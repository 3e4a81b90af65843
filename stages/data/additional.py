"""Where a raw folder keeps the files that `source.also` names: below `also/train/N/` or `also/drawn/N/`.

N counts the addresses from 1. What lies below `train` is learned from and measures nothing; below `drawn`
(`source.also_test: true`) each record falls to a split as the source's own do.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = "also"
TRAIN, DRAWN = "train", "drawn"


def is_additional(name: str) -> bool:
    """Whether a file's name in the raw folder is that of an additional one."""
    return name.startswith(f"{FOLDER}/")


def is_only_learned(name: str) -> bool:
    """Whether such a name stands below `train`."""
    return name.startswith(f"{FOLDER}/{TRAIN}/")


def additional_files(raw: Path, pattern: str) -> list[Path]:
    """The additional files of a raw folder that fit a glob pattern below `also/SPLIT/N/`, by address and name."""
    found = raw.glob(f"{FOLDER}/*/*/{pattern}")
    return sorted((path for path in found if path.is_file()), key=lambda path: _place(path.relative_to(raw)))


def _place(path: Path) -> tuple[str, int, str]:
    _, split, number, *names = path.parts
    return split, int(number), "/".join(names)

"""Which additional clips can be taken: those of a known class whose bytes no clip before them has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ....data.additional import is_only_learned
from ....preprocessing.preparation import Preparation
from ..data.layout import Place, clip_path


def of_known_classes(additional: Mapping[str, Place], classes: set[str], output: Preparation) -> dict[str, Place]:
    """The clips of one of the classes; the others are rejected."""
    for clip, place in additional.items():
        if place.label not in classes:
            found = f"of the class {place.label}" if place.label else "in no class's folder"
            reason = f"found a clip {found}; allowed: CLASS/clip.ext of a class that the source has"
            output.reject(id=clip, file=clip, rule="unknown_class", reason=reason)
    return {clip: place for clip, place in additional.items() if place.label in classes}


def same_bytes(raw: Path, own: Iterable[str], additional: Iterable[str]) -> dict[str, str]:
    """Of each additional clip with the bytes of one before it, or of the source's own, that other clip. Only files of
    one size are read.
    """
    sizes: dict[int, list[str]] = {}
    for clip in additional:
        sizes.setdefault((raw / clip_path(clip)).stat().st_size, []).append(clip)
    same_size = [clip for clip in own if sizes and (raw / clip_path(clip)).stat().st_size in sizes]
    first: dict[bytes, str] = {}
    for clip in same_size:
        first.setdefault(_digest(raw / clip_path(clip)), clip)
    found = {}
    for clip in (clip for clips in sizes.values() if same_size or len(clips) > 1 for clip in clips):
        other = first.setdefault(_digest(raw / clip_path(clip)), clip)
        if other != clip:
            found[clip] = other
    return found


def reject_repeated(repeated: Mapping[str, str], splits: Mapping[str, str], output: Preparation) -> None:
    """Reject additional clips with the bytes of others, which `splits` gives a split."""
    for clip, other in repeated.items():
        tested = splits.get(other) == "test"
        reason = f"has the bytes of {other}" + (", which is in the test split" if tested else "")
        rule = "in_test_set" if tested else "duplicate"
        output.reject(id=clip, file=clip, rule=rule, reason=f"{reason}; allowed: each clip once")


def reject_held_back(groups: Mapping[str, str | None], splits: Mapping[str, str], output: Preparation) -> set[str]:
    """Reject additional clips whose group is in the validation or test split, and return them: a network that has
    learned from one clip of a person knows something of that person's others.
    """
    of_groups = [(groups[clip], split) for clip, split in splits.items() if groups[clip] and not is_only_learned(clip)]
    # Official lists may divide a group: one clip that is held back is enough.
    split_of = {group: split for group, split in of_groups if split != "train"}
    held_back = set()
    for clip in filter(is_only_learned, splits):
        split = split_of.get(groups[clip], "train")
        if split != "train":
            reason = f"its group {groups[clip]} is in the {split} split; allowed: a name with another group"
            output.reject(id=clip, file=clip, rule="group_held_back", reason=reason)
            held_back.add(clip)
    return held_back


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

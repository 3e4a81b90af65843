"""Train, validation and test: whole groups, never single clips, or UCF-101's official lists.

A group is what clips share beside their class: in UCF-101 the actor and the scene, in the sample the digit. A network
that has seen one clip of a group knows something of the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ..data.layout import LISTS, read_list


def split_by_group(
    groups: Mapping[str, str], *, validation_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """`clip → train, validation or test`, from `clip → group`; the shares (0 to 1) are of all clips.

    Raises ValueError where there are fewer than three groups.
    """
    test = _take(groups, test_share * len(groups), keep=2, seed=seed)
    rest = {clip: group for clip, group in groups.items() if clip not in test}
    validation = _take(rest, validation_share * len(groups), keep=1, seed=seed)
    return {clip: "test" if clip in test else "validation" if clip in validation else "train" for clip in groups}


def split_officially(
    groups: Mapping[str, str], official: Mapping[str, str], *, validation_share: float, seed: int
) -> dict[str, str]:
    """`clip → split` as the official lists say, for the clips that they name.

    They know no validation: it is taken, by group, from the clips to train on. Raises ValueError where these are in
    fewer than two groups, or where no clip is left to test on.
    """
    splits = {clip: official[clip] for clip in groups if clip in official}
    if "test" not in splits.values():
        raise ValueError(f"none of {len(groups)} clips is in the official test list; see prepare.split")
    train = {clip: groups[clip] for clip, split in splits.items() if split == "train"}
    for clip in _take(train, validation_share * len(train), keep=1, seed=seed):
        splits[clip] = "validation"
    return splits


def _take(groups: Mapping[str, str], clips: float, *, keep: int, seed: int) -> set[str]:
    """Clips of whole groups, as near to `clips` as they come, at least one group; at least `keep` groups stay behind.

    Groups come in an order drawn from the seed and their own names, so that further groups move few of the others.
    """
    sizes = Counter(groups.values())
    if len(sizes) <= keep:
        raise ValueError(
            f"{len(groups)} clips in {len(sizes)} groups ({', '.join(sorted(sizes))[:200]}) cannot be split; at least "
            f"{keep + 1} groups are needed: see prepare.group"
        )
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    taken: set[str] = set()
    filled = 0
    for group in order[: len(order) - keep]:
        if taken and filled + sizes[group] / 2 > clips:
            break
        taken.add(group)
        filled += sizes[group]
    return {clip for clip, group in groups.items() if group in taken}


def read_official(raw: Path, number: int) -> dict[str, str]:
    """UCF-101's split `number` (1 to 3) as `CLASS/clip.avi → train or test`.

    Raises ValueError where a list is missing or damaged, and where a clip stands in both.
    """
    splits: dict[str, str] = {}
    for split in ("train", "test"):
        path = raw / LISTS / f"{split}list{number:02d}.txt"
        if not path.is_file():
            raise ValueError(f"prepare.split: found ucf101_{number}, but there is no {path}; allowed here: group")
        for clip in read_list(path):
            if splits.setdefault(clip, split) != split:
                raise ValueError(f"{path}: {clip} is in the train list, too")
    return splits

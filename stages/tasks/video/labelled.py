"""Clips in folders of their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from ...evaluation.bootstrap import Scores, accuracy
from ...preprocessing.groups import find_group
from .params import Params

LABELS = "a folder or a list of clips, each in a folder named after its class: CLASS/clip.mp4"


def scores(targets: Sequence[str], answers: Sequence[Mapping[str, Any]], params: Params, metric: str) -> Scores:
    """Accuracy; clips of a class that share what `prepare.group` finds in their names (an actor) are drawn together."""
    group = params.prepare.group
    names = []
    for target, answer in zip(targets, answers, strict=True):
        path = PurePath(answer["path"])
        found = find_group(group, path.with_suffix("").name) if group else None
        names.append(f"{target}/{found}" if found else str(path))
    return accuracy([answer["label"] for answer in answers], targets, np.unique(names, return_inverse=True)[1])

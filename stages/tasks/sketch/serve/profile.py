"""Drawings of a user's file as a profile sees them, read as the registered model reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np

from ....preprocessing.profile import MOST_EXAMPLES, Known, Observed
from ..data.canonical import canonicalize
from ..data.parse import BadDrawing, parse
from ..prepare.profile import shape_features
from .predictor import any_form

_AT_ONCE = 1024  # drawings


def read(groups: Iterable[list[dict[str, Any]]], known: Known) -> Observed:
    """The first drawings of a file, at most as many as a profile is made of."""
    rows = islice((row for group in groups for row in group), MOST_EXAMPLES)
    drawings: list[np.ndarray] = []
    rejected: Counter[str] = Counter()
    while chunk := list(islice(rows, _AT_ONCE)):
        rejected["unreadable_line"] += sum("error" in row for row in chunk)
        parsed = parse((row["drawing"] for row in chunk if "error" not in row), form=any_form)
        for found in canonicalize(parsed, max_points=known.data["max_points"]).in_order():
            if isinstance(found, BadDrawing):
                rejected[found.rule] += 1
            else:
                drawings.append(found)
    return Observed(examples=len(drawings), features=shape_features(drawings), rejected=+rejected)

"""Clips of a user as a profile sees them, decoded as the registered model decodes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ....preprocessing.profile import Known, Observed
from ..data.decode import ClipError, Decoding, read_clip
from ..prepare.profile import MOST_CLIPS, picture_features
from .local_copy import local_copy


def read(groups: Iterable[list[dict[str, Any]]], known: Known) -> Observed:
    """The first clips that are named, at most as many as a profile is made of."""
    rejected: Counter[str] = Counter()
    rows = islice((row for group in groups for row in group), MOST_CLIPS)
    features = picture_features(_frames(rows, Decoding(**known.data["decoding"]), rejected), known)
    return Observed(examples=len(features["frames"].values), features=features, rejected=rejected)


def _frames(rows: Iterable[dict[str, Any]], decoding: Decoding, rejected: Counter[str]) -> Iterator[np.ndarray]:
    for row in rows:
        try:
            if "error" in row:
                raise ValueError(row["error"])
            with local_copy(row["path"]) as local:
                yield read_clip(local, decoding).frames
        except ClipError as error:
            rejected[error.rule] += 1
        except (ValueError, OSError):  # what is there is no file, or cannot be fetched
            rejected["no_file"] += 1

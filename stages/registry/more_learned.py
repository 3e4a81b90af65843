"""What the network that would answer has learned and the one that answers now has not.

Two measured networks are compared on what neither has learned, and know nothing of the days or examples that a refit
brings. So the gate asks of a version that was refit on more than the champion only that it is not worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..models.learned import MOST_IDS, Learned


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreLearned:
    """By how much one network has learned more than another: days, summed over all series, or ids of examples."""

    unit: Literal["days", "ids"]
    gained: int  # that the other has not learned; more than `lost`
    lost: int  # that the other alone has learned

    def __str__(self) -> str:
        unit = self.unit.removesuffix("s") if self.gained == 1 else self.unit
        less = f", and {self.lost:,} less" if self.lost else ""
        return f"has learned {self.gained:,} {unit} more{less}"


def more_learned(ours: Learned | None, theirs: Learned | None) -> MoreLearned | None:
    """What we have learned beside them; None where one of the two does not say, or where they have learned as much that
    we have not: other examples are not more.
    """
    if ours is None or theirs is None or (ours.days is None) != (theirs.days is None):
        return None
    # Of one that holds as many ids as it can, those with higher hashes are not told: of both, lower ones are compared.
    full = [learned.hashes[-1] for learned in (ours, theirs) if len(learned.hashes) == MOST_IDS]
    one, other = (_up_to(min(full), learned) if full else learned for learned in (ours, theirs))
    _, mine, their = np.intersect1d(one.hashes, other.hashes, assume_unique=True, return_indices=True)
    if one.days is None or other.days is None:
        return _beyond("ids", len(one.hashes), len(other.hashes), both=len(mine))
    first = np.maximum(one.days[mine, 0], other.days[their, 0])
    last = np.minimum(one.days[mine, 1], other.days[their, 1])
    return _beyond("days", _count(one.days), _count(other.days), both=_count(np.stack([first, last], axis=1)))


def _up_to(limit: np.uint64, learned: Learned) -> Learned:
    count = int(np.searchsorted(learned.hashes, limit, side="right"))
    return Learned(learned.hashes[:count], None if learned.days is None else learned.days[:count])


def _count(ranges: np.ndarray) -> int:
    """Days from the first to the last, `(series, 2)`; none where the last is before the first."""
    return int(np.maximum(ranges[:, 1] - ranges[:, 0] + 1, 0).sum())


def _beyond(unit: Literal["days", "ids"], ours: int, theirs: int, *, both: int) -> MoreLearned | None:
    return MoreLearned(unit=unit, gained=ours - both, lost=theirs - both) if ours > theirs else None

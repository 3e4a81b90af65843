"""What the network that would answer has learned and the one that answers now has not.

Two measured networks are compared on what neither has learned, and know nothing of the days or examples that a refit
brings. So the gate asks of a version that was refit on more than the champion only that it is not worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..models.learned import MOST_IDS, Learned

LEAST_RATIO = 10  # of what is gained to what is lost: a network that forgets much has not learned more


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreLearned:
    """By how much one network has learned more than another: days, summed over all series, or ids of examples."""

    unit: Literal["days", "ids"]
    gained: int  # of today's data, that the other has not learned
    lost: int  # that the other alone has learned
    series: int = 0  # that the days gained are of; 0 of ids, and where older code has written it

    def __str__(self) -> str:
        unit = self.unit.removesuffix("s") if self.gained == 1 else self.unit
        over = f" over {self.series:,} series" if self.series > 1 else ""
        less = f", and {self.lost:,} less" if self.lost else ""
        return f"has learned {self.gained:,} {unit} more{over}{less}"


def more_learned(ours: Learned | None, theirs: Learned | None, today: Learned | None) -> MoreLearned | None:
    """What we have learned beside them. What we gained counts of `today`'s data alone, not what our start weights had
    learned before; nor do its days count that came after our training, where it is judged late.

    None where one does not say, where we gained nothing, or where what they alone have learned is more than a tenth of
    it: other examples are not more.
    """
    if ours is None or theirs is None or today is None:
        return None
    if len({learned.days is None for learned in (ours, theirs, today)}) > 1:
        return None
    # Of one that holds as many ids as it can, those with higher hashes are not told: of all, lower ones are compared.
    full = [learned.hashes[-1] for learned in (ours, theirs, today) if len(learned.hashes) == MOST_IDS]
    if full:
        ours, theirs, today = (_up_to(min(full), learned) for learned in (ours, theirs, today))
    new = _beyond(_both(ours, today), theirs)
    gained, lost = int(new.sum()), int(_beyond(theirs, ours).sum())
    if not gained or lost * LEAST_RATIO > gained:
        return None
    if ours.days is None:
        return MoreLearned(unit="ids", gained=gained, lost=lost)
    return MoreLearned(unit="days", gained=gained, lost=lost, series=int(np.count_nonzero(new)))


def _up_to(limit: np.uint64, learned: Learned) -> Learned:
    count = int(np.searchsorted(learned.hashes, limit, side="right"))
    return Learned(learned.hashes[:count], None if learned.days is None else learned.days[:count])


def _both(one: Learned, other: Learned) -> Learned:
    """What is in both."""
    hashes, mine, theirs = np.intersect1d(one.hashes, other.hashes, assume_unique=True, return_indices=True)
    if one.days is None or other.days is None:
        return Learned(hashes)
    first = np.maximum(one.days[mine, 0], other.days[theirs, 0])
    last = np.minimum(one.days[mine, 1], other.days[theirs, 1])
    return Learned(hashes, np.stack([first, last], axis=1))


def _beyond(one: Learned, other: Learned) -> np.ndarray:
    """Of each id (1 or 0), or of the days of each series how many, that the one has learned and the other has not."""
    both = _both(one, other)
    mine = np.searchsorted(one.hashes, both.hashes)
    if one.days is None or both.days is None:
        beyond = np.ones(len(one.hashes), dtype=np.int64)
        beyond[mine] = 0
        return beyond
    beyond = _counts(one.days)
    beyond[mine] -= _counts(both.days)
    return beyond


def _counts(ranges: np.ndarray) -> np.ndarray:
    """Of each series, days from the first to the last, `(series, 2)`; none where the last is before the first."""
    return np.maximum(ranges[:, 1] - ranges[:, 0] + 1, 0).astype(np.int64)

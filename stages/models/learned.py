"""What a network has learned from, so that nobody measures it on that again.

A file beside the network's weights holds a 64-bit hash of each id, and of series their first and last day: 8 bytes an
id (of 6,000 drawings 48 kB), 16 a series. Of more than MOST_IDS those with the lowest hashes are kept; whether one with
a higher hash was learned cannot be told, and nobody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from ..data.prepared import open_prepared
from ..data.store import Split

LEARNED_NAME = "learned.safetensors"
MOST_IDS = 2**21  # 16 MB
FITTED_SPLITS = ("train", "validation")  # that the measured network was trained, chosen or calibrated by


class Identities(NamedTuple):
    """By what examples are known, whatever split they are in: ids, or the ids of series and the days in question."""

    ids: Iterable[str]
    days: np.ndarray | None = None  # (ids, 2), first and last, days since 1970-01-01


@dataclass(frozen=True, slots=True)
class Learned:
    """What a network has learned from, or was chosen or calibrated by."""

    hashes: np.ndarray  # (ids,) uint64, ascending
    days: np.ndarray | None = None  # (ids, 2) int32: of series, the first and the last day that was learned

    @staticmethod
    def of(examples: Identities) -> Learned:
        """Of these; a series comes once."""
        hashes, first = np.unique(_hashes(examples.ids), return_index=True)
        days = None if examples.days is None else examples.days[first[:MOST_IDS]].astype(np.int32)
        return Learned(hashes[:MOST_IDS], days)

    def may_hold(self, examples: Identities) -> np.ndarray:
        """Which examples were learned, `(examples,)` bool; of series, those with a day that was learned."""
        hashes = _hashes(examples.ids)
        if not len(self.hashes):
            return np.zeros(len(hashes), dtype=bool)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        found = self.hashes[places] == hashes
        if self.days is not None and examples.days is not None:
            first, last = self.days[places].T
            found &= (examples.days[:, 0] <= last) & (examples.days[:, 1] >= first)
        if len(self.hashes) == MOST_IDS:
            found |= hashes > self.hashes[-1]
        return found

    def save(self, folder: Path) -> None:
        """Write it beside the weights; the same examples give the same bytes."""
        save_file({"ids": self.hashes, **({} if self.days is None else {"days": self.days})}, folder / LEARNED_NAME)

    def joined(self, other: Learned) -> Learned:
        """What one of the two has learned; of a series the days from the first to the last of both."""
        hashes, places = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        if self.days is None or other.days is None:
            return Learned(hashes[:MOST_IDS])
        days = np.concatenate([self.days, other.days])
        both = np.tile(np.array([np.iinfo(np.int32).max, np.iinfo(np.int32).min], np.int32), (len(hashes), 1))
        np.minimum.at(both[:, 0], places, days[:, 0])
        np.maximum.at(both[:, 1], places, days[:, 1])
        return Learned(hashes[:MOST_IDS], both[:MOST_IDS])

    @staticmethod
    def load(folder: Path) -> Learned | None:
        """What stands beside the weights in `folder`; None where older code has written them."""
        if not (folder / LEARNED_NAME).is_file():
            return None
        return Learned.parse((folder / LEARNED_NAME).read_bytes())

    @staticmethod
    def parse(content: bytes) -> Learned:
        """What `save` wrote. Raises ValueError for anything else."""
        try:
            arrays = load(content)
            return Learned(arrays["ids"], arrays.get("days"))
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{LEARNED_NAME} does not say what was learned: {error}") from None


def ids_of(prepared: Path, rows: np.ndarray) -> Identities:
    """Some rows of the prepared data, by their ids."""
    store, _ = open_prepared(prepared)
    return Identities(store.values("id", rows))


def learned_ids(prepared: Path, split: Split) -> Learned:
    """The sequences of some splits of the prepared data, by their ids."""
    store, _ = open_prepared(prepared)
    return Learned.of(ids_of(prepared, store.rows(split)))


def _hashes(ids: Iterable[str]) -> np.ndarray:
    digests = (blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return np.fromiter((int.from_bytes(digest) for digest in digests), dtype=np.uint64)

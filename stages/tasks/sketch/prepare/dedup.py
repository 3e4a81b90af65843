"""Which of any number of things came before, in bounded memory: sorted runs of 64-bit digests, long ones on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

_IN_MEMORY = 2**21  # digests of a run, 16 MB; longer runs lie in files without a name, which end with the process
_RANGES = 64  # long runs are merged a range of values at a time


class DigestSet:
    """A set of 64-bit digests that only grows.

    Each call's new digests are a sorted run. A run is merged with the one before it as soon as that is not twice as
    long, so there are as many runs as the logarithm of their sum. A digest costs 8 bytes, in `folder` in a long run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: list[np.ndarray] = []

    def add(self, digests: np.ndarray) -> np.ndarray:
        """Put in `(n,)` uint64; gives `(n,)` bool: whether each was there, or stands further up in this call."""
        values, first = np.unique(digests, return_index=True)
        known = self.holds(values)
        again = np.ones(len(digests), dtype=bool)
        again[first] = known
        if not known.all():
            self._runs.append(values[~known])
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs.append(self._merged(self._runs.pop(), self._runs.pop()))
        return again

    def holds(self, digests: np.ndarray) -> np.ndarray:
        """Whether each of `(n,)` uint64 was put in: `(n,)` bool."""
        known = np.zeros(len(digests), dtype=bool)
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, digests), len(run) - 1)
            known |= run[place] == digests
        return known

    def _merged(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        total = len(one) + len(other)
        if total <= _IN_MEMORY:
            return np.sort(np.concatenate([one, other]), kind="stable")  # which merges what is sorted already
        with tempfile.TemporaryFile(dir=self._folder) as file:
            bounds = np.arange(1, _RANGES, dtype=np.uint64) * np.uint64(2**64 // _RANGES)
            parts = (np.split(run, np.searchsorted(run, bounds)) for run in (one, other))
            for pair in zip(*parts, strict=True):
                np.sort(np.concatenate(pair), kind="stable").tofile(file)
            file.flush()
            return np.memmap(file, np.uint64, "r", shape=(total,))

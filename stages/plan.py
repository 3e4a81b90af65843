"""Which examples each step of an epoch takes, and which rank computes which of them.

A plan is a pure function of the lengths, the batch size, the seed and the epoch. Any process can make any part of it at
any time, so ranks need not agree on anything, a resumed training goes on in the middle of an epoch, and nothing is kept
in memory but the pool at hand.

Padding is work thrown away: an epoch takes the examples in random order, a pool of `POOL` batches at a time, sorts the
pool by length and cuts batches of like lengths from it, which it gives in random order again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .batching import mix

POOL = 50  # batches sorted together: measured, with more the padding falls by less than a point
_ROUNDS = 6


class Plan:
    """The batches of one epoch, each an array of example numbers; every example exactly once."""

    def __init__(self, lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch
        self._pool: tuple[int, list[np.ndarray]] = (-1, [])

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._batch_size)

    def __getitem__(self, step: int) -> np.ndarray:
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of an epoch of {len(self)} steps")
        number, within = divmod(step, POOL)
        if self._pool[0] != number:
            self._pool = (number, self._batches(number))
        return self._pool[1][within]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[step] for step in range(len(self)))

    def _batches(self, number: int) -> list[np.ndarray]:
        size = self._batch_size
        first = number * POOL * size
        places = np.arange(first, min(first + POOL * size, len(self._lengths)))
        pool = permuted(places, len(self._lengths), seed=self._seed, epoch=self._epoch)
        pool = pool[np.argsort(self._lengths[pool], kind="stable")]
        batches = [pool[i : i + size] for i in range(0, len(pool), size)]
        order = np.random.Generator(np.random.Philox(key=[self._seed, self._epoch], counter=[0, 0, 0, number]))
        return [batches[i] for i in order.permutation(len(batches))]


def permuted(places: np.ndarray, size: int, *, seed: int, epoch: int) -> np.ndarray:
    """What stands at some places of a random order of `range(size)`, without making the whole order.

    A Feistel network over the smallest square power of two that holds `size`, walked until it ends below `size` (Black
    and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002, method 2). Fifty million sequences start as fast as
    fifty.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask, shift = np.uint64((1 << half) - 1), np.uint64(half)
    keys = np.random.Generator(np.random.Philox(key=[seed, epoch])).integers(0, 1 << 63, _ROUNDS, dtype=np.uint64)

    def encrypted(values: np.ndarray) -> np.ndarray:
        left, right = values >> shift, values & mask
        for key in keys:
            left, right = right, left ^ (mix(right + key) & mask)
        return (left << shift) | right

    found = encrypted(np.asarray(places, dtype=np.uint64))
    outside = np.flatnonzero(found >= size)
    while len(outside):
        found[outside] = encrypted(found[outside])
        outside = outside[found[outside] >= size]
    return found.astype(np.int64)


def share(examples: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """A rank's part of a batch: every `ranks`th example, so that lengths stay alike; may be empty."""
    return examples[rank::ranks]


def padding_share(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> float:
    """The share of padded steps among all steps of the batches, 0 to 1."""
    real, padded = padding(lengths, batches)
    return 1.0 - real / padded if padded else 0.0


def padding(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> tuple[int, int]:
    """How many steps of sequences, and how many steps with the padding, the batches hold."""
    real = sum(int(lengths[batch].sum()) for batch in batches)
    return real, sum(len(batch) * int(lengths[batch].max(initial=0)) for batch in batches)

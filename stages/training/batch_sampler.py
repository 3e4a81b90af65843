"""Which examples each step of an epoch takes, and which rank computes which of them.

The batches are a pure function of the lengths, the batch size, the seed and the epoch. Any process can make any of them
at any time, so ranks need not agree on anything, a resumed training goes on in the middle of an epoch, and nothing is
kept in memory but the pools at hand.

Padding is work thrown away: an epoch takes the examples in random order, a pool of `POOL` batches at a time, sorts the
pool by length and cuts batches of like lengths from it, which it gives in random order again.

With a budget of tokens, batches have about the same number of steps, padding included, instead of the same number of
sequences. A pool then holds as many sequences as are expected to fill its batches, and is cut so that the largest batch
is as small as can be: the number of steps in an epoch, and which pool a step belongs to, are known without looking at
any pool. The price: a pool whose sequences happen to be long may exceed the budget, as measured by a tenth at most.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np

from ..models.counter_rng import mix

POOL = 50  # batches sorted together: measured, with more the padding falls by less than a point
_FILLED = 0.97  # of a budget of tokens, in the mean: the rest is for padding and for pools of longer sequences
_ROUNDS = 6


class BucketBatchSampler:
    """The batches of one epoch by step, each an array of example numbers; every example exactly once.

    A batch has `batch_size` examples, or about `batch_tokens` steps with the padding where that is not 0; a longer
    example is a batch by itself.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int, batch_tokens: int = 0) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._batch_tokens = batch_tokens
        self._pool_size = POOL * batch_size  # examples
        if batch_tokens and len(lengths):
            self._pool_size = max(POOL, int(POOL * _examples_within(lengths, batch_tokens)))
        self._seed = seed
        self._epoch = epoch
        self._pools: dict[int, list[np.ndarray]] = {}  # the two at hand: threads that make batches may be at both
        self._lock = Lock()

    def __len__(self) -> int:
        pools, rest = divmod(len(self._lengths), self._pool_size)
        return pools * POOL + self._parts(rest)

    def _parts(self, examples: int) -> int:
        """How many batches some examples of a pool make: in proportion."""
        return -(-examples * POOL // self._pool_size)

    def __getitem__(self, step: int) -> np.ndarray:
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of an epoch of {len(self)} steps")
        number, within = divmod(step, POOL)
        with self._lock:
            if number not in self._pools:
                self._pools = dict([*self._pools.items()][-1:]) | {number: self._batches(number)}
            return self._pools[number][within]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[step] for step in range(len(self)))

    def _batches(self, number: int) -> list[np.ndarray]:
        first = number * self._pool_size
        places = np.arange(first, min(first + self._pool_size, len(self._lengths)))
        pool = permuted(places, len(self._lengths), seed=self._seed, epoch=self._epoch)
        pool = pool[np.argsort(self._lengths[pool], kind="stable")]
        if self._batch_tokens:
            batches = np.split(pool, _even_cuts(self._lengths[pool].tolist(), self._parts(len(pool))))
        else:
            batches = [pool[i : i + self._batch_size] for i in range(0, len(pool), self._batch_size)]
        order = np.random.Generator(np.random.Philox(key=[self._seed, self._epoch], counter=[0, 0, 0, number]))
        return [batches[i] for i in order.permutation(len(batches))]


def _examples_within(lengths: np.ndarray, budget: int) -> float:
    """How many examples a batch of `budget` steps may be expected to hold.

    At its end room for half an example stays empty, of one as long as those that the mean step belongs to.
    """
    counts = np.bincount(lengths)
    steps = counts @ np.arange(len(counts))
    half = float(counts @ np.arange(len(counts)) ** 2 / steps / 2)
    return _FILLED * max(0.0, budget - half) * len(lengths) / float(steps)


def _even_cuts(lengths: list[int], parts: int) -> list[int]:
    """Where to cut ascending lengths, `parts` or more, so that the largest padded part is as small as can be."""

    def cuts(most: int) -> list[int]:
        """The starts of parts of at most so many steps, each filled from its longest sequence down."""
        starts, end = [], len(lengths)
        while end > 0:
            end = max(0, end - max(1, most // max(1, lengths[end - 1])))
            starts.append(end)
        return starts[::-1]

    enough = lengths[-1] * -(-len(lengths) // parts)  # with so many steps, equal numbers of sequences fit
    starts = cuts(1 + bisect_left(range(1, enough), True, key=lambda most: len(cuts(most)) <= parts))
    while len(starts) < parts:  # where lengths are all alike, the last bit of room may save a part
        sizes = np.diff([*starts, len(lengths)])
        widest = int(sizes.argmax())
        starts.insert(widest + 1, starts[widest] + int(sizes[widest]) // 2)
    return starts[1:]


def permuted(places: np.ndarray, size: int, *, seed: int, epoch: int) -> np.ndarray:
    """The values at some places of a random order of `range(size)`, without making the whole order.

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

    values = encrypted(np.asarray(places, dtype=np.uint64))
    outside = np.flatnonzero(values >= size)
    while len(outside):
        values[outside] = encrypted(values[outside])
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def shard(examples: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """A rank's part of a batch: every `ranks`th example, so that ranks get lengths alike; may be empty."""
    return examples[rank::ranks]


def padding_share(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> float:
    """The share of padded steps among all steps of the batches, 0 to 1."""
    real, padded = padding(lengths, batches)
    return 1.0 - real / padded if padded else 0.0


def padding(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> tuple[int, int]:
    """How many steps of sequences, and how many steps with the padding, the batches hold."""
    real = sum(int(lengths[batch].sum()) for batch in batches)
    return real, sum(len(batch) * int(lengths[batch].max(initial=0)) for batch in batches)

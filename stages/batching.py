"""Batches of sequences: padded to their longest, with lengths and mask, and what a batch is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Padded sequences and what goes with them."""

    values: Tensor  # (batch, time, features), or (batch, time) token ids; zero after each sequence's end
    lengths: Tensor  # (batch,) int64, steps before the padding
    targets: Tensor | None = None  # (batch,) labels, (batch, time) tokens or (batch, horizon) numbers
    context: Mapping[str, Tensor] = field(default_factory=dict)  # further inputs that a task names itself

    @property
    def mask(self) -> Tensor:
        """`(batch, time)` bool, true where a step is part of its sequence."""
        return length_mask(self.lengths, self.values.shape[1])

    def to(self, device: torch.device) -> Batch:
        """The batch on another device; from pinned memory, without waiting."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The batch in memory that a GPU copies from by itself."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            values=change(self.values),
            lengths=change(self.lengths),
            targets=None if self.targets is None else change(self.targets),
            context={name: change(value) for name, value in self.context.items()},
        )


class Dataset(Protocol):
    """Examples that can be batched; an example need not be a row of a store (a window of a series is one)."""

    lengths: np.ndarray  # (examples,) steps of each example: what a plan sorts by

    def __len__(self) -> int: ...

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Load and pad examples. With an `epoch`, augmentation is drawn by (seed, epoch, example) and nothing else."""

    def name(self, example: int) -> str:
        """What a person finds the example by, such as its id in the store."""


def length_mask(lengths: Tensor, time: int) -> Tensor:
    """`(batch, time)` bool, true before each length."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def pad(sequences: Sequence[np.ndarray], *, dtype: np.dtype | type | None = None) -> tuple[Tensor, Tensor]:
    """Sequences of `(time, …)` as one zero-padded tensor `(batch, longest, …)`, and their lengths `(batch,)`."""
    lengths = np.fromiter((len(s) for s in sequences), dtype=np.int64, count=len(sequences))
    shape = (len(sequences), int(lengths.max(initial=0)), *sequences[0].shape[1:])
    padded = np.zeros(shape, dtype=dtype or sequences[0].dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(padded), torch.from_numpy(lengths)


def by_length(lengths: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Batches for reading everything once, longest first, so that the largest batch shows at once whether it fits."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def uniform(seed: int, epoch: int, examples: np.ndarray, columns: int) -> np.ndarray:
    """Random numbers in [0, 1) of `(examples, columns)`, float64, that depend on (seed, epoch, example, column) alone.

    The same example gets the same draws in whatever batch, process or order it comes. Counter-based: SplitMix64's
    finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) over the mixed counters.
    """
    state = mix(np.array([seed + 1], dtype=np.uint64) * _GOLDEN)
    state = mix(state ^ np.array([epoch + 1], dtype=np.uint64) * _GOLDEN)
    row = mix(state ^ (np.asarray(examples, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)
    column = (np.arange(columns, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
    bits = mix(row[:, None] + column[None, :]) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser on uint64, modulo 2^64: neighbouring numbers become unrelated ones."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

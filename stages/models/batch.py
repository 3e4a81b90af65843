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
        """On another device; from pinned memory, without waiting."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """In memory that a GPU copies from by itself."""
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

    lengths: np.ndarray  # (examples,) steps of each example, by which batches are formed

    def __len__(self) -> int: ...

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Load and pad examples. With an `epoch`, augmentation is drawn by (seed, epoch, example) and nothing else."""

    def name(self, example: int) -> str:
        """The example's name for people, such as its id in the store."""


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

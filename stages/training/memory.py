"""What is said where memory is full: it would be full again, so nobody needs to start anew to see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ..models.batch import Batch
from .distributed import StageError

# Of errors that are plain RuntimeErrors: the CPU's allocator, CUDA's own calls and its libraries.
_FULL = ("can't allocate memory", "not enough memory", "out of memory", "_ALLOC_FAILED")


def is_full(error: BaseException) -> bool:
    """Whether an error says that memory, of a GPU or of this machine, is full, and is not ours, which has said so."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    plain = isinstance(error, RuntimeError) and not isinstance(error, StageError)
    return plain and any(words in str(error) for words in _FULL)


def described(device: torch.device, rank: int, batches: Sequence[Batch]) -> str:
    """Where memory is full, what a rank computes there at once, and which params make it less."""
    largest = max(batches, key=lambda batch: batch.values.numel())
    sequences, longest = largest.values.shape[:2]
    where = f"out of memory on {device}, rank {rank}: {sequences} sequences of up to {longest} steps at once"
    return f"{where}; lower train.batch_size or train.batch_tokens, or raise train.accumulation_steps"


@contextmanager
def one_line() -> Iterator[None]:
    """Inside the block, full memory raises StageError: one line, and no start anew."""
    full = ""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_full(error):
            raise
        full = str(error).strip().partition("\n")[0] or type(error).__name__
    if full:
        raise StageError(f"out of memory: {full}; lower train.batch_size")

"""Several processes that train as one: their setup, and what they exchange. NCCL joins GPUs, gloo CPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as process_group
from torch import Tensor

from ..stopping import end_with_parent


class StageError(RuntimeError):
    """A stage cannot go on, and would not if it were started again; the message says why."""


def rank() -> int:
    """This process's number among those that train together; 0 is the one that writes."""
    return process_group.get_rank() if process_group.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return process_group.get_world_size() if process_group.is_initialized() else 1


def device() -> torch.device:
    """This rank's CUDA device where one is visible, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def configure(*, seed: int, threads: int) -> None:
    """Make this process deterministic: same seed, same number of threads, same bits on the same kind of machine."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        # The CPU's kernels that we use are deterministic as they are, and this call imports the compiler: 4 s.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place; every rank gets the same bits."""
    if process_group.is_initialized():
        process_group.all_reduce(tensor)
    return tensor


def broadcast(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if not process_group.is_initialized():
        return value
    holder = [value]
    process_group.broadcast_object_list(holder, device=torch.device("cpu"))
    return holder[0]


def all_gather(value: Any) -> list[Any]:
    """The values of all ranks, in their order, on every rank."""
    if not process_group.is_initialized():
        return [value]
    values: list[Any] = [None] * ranks()
    process_group.all_gather_object(values, value)
    return values


def interleaved(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """One list of what ranks made of every `ranks`th item, in the items' order."""
    return [parts[i % len(parts)][i // len(parts)] for i in range(sum(len(part) for part in parts))]


def started_by_torchrun() -> bool:
    """Whether this process is a rank that a launcher has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


@contextmanager
def joined(count: int, verb: str) -> Iterator[None]:
    """Join the other ranks for the length of the block; alone, nothing happens.

    Raises StageError where a launcher has started another number of ranks than params.yaml asks for, or where a machine
    has fewer GPUs than ranks.
    """
    if not started_by_torchrun():
        yield
        return
    started = int(os.environ["WORLD_SIZE"])
    if started != count:
        raise StageError(f"{verb}.ranks is {count}, and torchrun has started {started}; both must agree")
    end_with_parent()  # it would train on beside its successor
    if torch.cuda.is_available():
        here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > gpus:
            raise StageError(f"{verb}.ranks puts {here} ranks on this machine, which has {gpus} GPUs")
        torch.cuda.set_device(device())
    process_group.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        process_group.destroy_process_group()

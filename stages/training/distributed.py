"""Several processes that train as one: their setup, and what they exchange. NCCL joins GPUs, gloo CPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as process_group

from ..stopping import end_with_parent

# Keys of the ranks' store: what one of them says, and how many have joined, have heard of it or ended, have left.
_FAULT, _JOINED, _HEARD, _LEFT = "unroll/fault", "unroll/joined", "unroll/heard", "unroll/left"
_SECONDS_TO_TELL = 2.0  # between the end of a rank's connections and its words
_SECONDS_TO_HEAR = 120.0  # a rank that computes hears at its next message
_INSTRUCTIONS = {"bfloat16": ("avx512_bf16", "amx_bf16"), "float16": ("avx512_fp16", "amx_fp16")}  # of x86 processors


class StageError(RuntimeError):
    """A stage cannot go on, and would not if it were started again; the message says why."""


PERMANENT = (StageError, ValueError, FileNotFoundError)  # errors that would come again


def rank() -> int:
    """This process's number among those that train together; 0 is the one that writes."""
    return process_group.get_rank() if process_group.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return process_group.get_world_size() if process_group.is_initialized() else 1


def together() -> bool:
    """Whether this process has joined a group, be it the only one in it."""
    return process_group.is_initialized()


def device() -> torch.device:
    """This rank's CUDA device where one is visible, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def described() -> str:
    """The ranks and their devices, in words: `1 rank, CPU`, `8 ranks, NVIDIA H200`."""
    kind = torch.cuda.get_device_name(device()) if device().type == "cuda" else "CPU"
    return f"{ranks()} rank{'s' * (ranks() != 1)}, {kind}"


def is_emulated(precision: str) -> bool:
    """Whether this rank's device is an x86 processor without instructions for a precision, which then is slower than
    float32 instead of faster.
    """
    if precision == "float32" or device().type != "cpu":
        return False
    has = torch.cpu.get_capabilities()
    return has.get("architecture") == "x86_64" and not any(has.get(name) for name in _INSTRUCTIONS[precision])


def configure(*, seed: int, threads: int) -> None:
    """Make this process deterministic: same seed, same number of threads, same bits on the same kind of machine."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        # The CPU's kernels that we use are deterministic as they are, and this call imports the compiler: 4 s.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # It would fill all memory that is about to be written with NaN, a kernel more for each tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        # float32 is float32, also where cuDNN would take TF32 by itself; what is to be fast asks for bfloat16.
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False


def keep_few_kernels() -> None:
    """Bound what oneDNN keeps, before it computes anything: 64 kernels where its own bound is 1,024.

    In half precision it makes a kernel for every shape, and batches by tokens hardly ever have the same one twice: it
    takes no longer, and a translator's process does not grow by two gigabytes (docs/translation.md).
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


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
        raise StageError(f"{verb}.ranks is {count}, but torchrun started {started}; they must be equal")
    end_with_parent()  # it would train on beside its successor
    if torch.cuda.is_available():
        here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > gpus:
            raise StageError(f"{verb}.ranks puts {here} ranks on this machine, which has {gpus} GPUs")
        torch.cuda.set_device(device())
    process_group.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    faults = _Faults()
    try:
        try:
            yield
        finally:
            process_group.destroy_process_group()
    except PERMANENT as error:
        if not faults.tell(str(error)):
            raise RuntimeError(f"rank {faults.rank}: {error}") from error
        raise
    except RuntimeError:
        # A message that did not arrive: its sender may have said why.
        if message := faults.told():
            raise StageError(message) from None
        raise
    faults.end()


class _Faults:
    """What ranks that cannot go on say to the others, which may not have the same fault and would wait for messages:
    one machine of several lacks a file. They say it through the store that the ranks found each other by.
    """

    def __init__(self) -> None:
        self.rank = process_group.get_rank()
        self._ranks = process_group.get_world_size()
        self._store = process_group.distributed_c10d._get_default_store()
        self._store.add(_JOINED, 1)
        self._reaches(_JOINED, self._ranks)  # a rank that fails at once would cut off one that still connects

    def tell(self, message: str) -> bool:
        """Say why this rank ends, with its connections closed. Returns whether all others have heard, or have ended."""
        try:
            self._store.set(_FAULT, f"rank {self.rank}: {message}" if self._ranks > 1 else message)
            self._store.add(_HEARD, 1)
            heard = self._reaches(_HEARD, self._ranks)
            self._leave()
        except RuntimeError:  # the store is gone, with rank 0: it failed by itself, and the launcher ends the others
            return True
        return heard

    def end(self) -> None:
        """This rank has done its work and waits for nobody."""
        with suppress(RuntimeError):
            self._store.add(_HEARD, 1)
            if self.rank:
                self._store.add(_LEFT, 1)

    def told(self) -> str | None:
        """What another rank has said, if one has."""
        try:
            self._store.wait([_FAULT], timedelta(seconds=_SECONDS_TO_TELL))
            message = self._store.get(_FAULT).decode()
            self._store.add(_HEARD, 1)
            self._leave()
        except RuntimeError:  # nobody has said anything: a rank was killed
            return None
        return message

    def _leave(self) -> None:
        """The store is in rank 0's process, which goes last."""
        if self.rank:
            self._store.add(_LEFT, 1)
        else:
            self._reaches(_LEFT, self._ranks - 1)

    def _reaches(self, key: str, count: int) -> bool:
        until = time.monotonic() + _SECONDS_TO_HEAR
        while self._store.add(key, 0) < count:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

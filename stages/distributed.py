"""Several processes that train as one: how they are started, who they are, what they add up.

A stage that asks for more than one rank starts them itself, with torchrun's own launcher and settings: on one machine
nothing else is needed; over several, each machine sets torchrun's variables (`PET_NNODES`, `PET_NODE_RANK`,
`PET_RDZV_BACKEND`, `PET_RDZV_ENDPOINT`, …) and runs the same command. `torchrun -m stages.train TASK` works as well.
NCCL joins GPUs, gloo CPUs. A rank that dies takes the others with it, and all start again from the last checkpoint.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as process_group
from torch import Tensor

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks import Task

PREEMPTED = 75  # sysexits.h: a temporary failure, try again
_MAX_RESTARTS = 3
_LOCAL = "127.0.0.1"


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


def add_up(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place; every rank gets the same bits."""
    if process_group.is_initialized():
        process_group.all_reduce(tensor)
    return tensor


def from_rank_0(value: Any) -> Any:
    """What rank 0 has, on every rank."""
    if not process_group.is_initialized():
        return value
    holder = [value]
    process_group.broadcast_object_list(holder, device=torch.device("cpu"))
    return holder[0]


def from_all(value: Any) -> list[Any]:
    """What every rank has, in their order, on every rank."""
    if not process_group.is_initialized():
        return [value]
    values: list[Any] = [None] * ranks()
    process_group.all_gather_object(values, value)
    return values


def interleaved(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """What ranks made of every `ranks`th of a number of items, in the items' order."""
    return [parts[i % len(parts)][i // len(parts)] for i in range(sum(len(part) for part in parts))]


def run(verb: str, count: int, task: Task, params: TaskParams, work: Callable[[Task, TaskParams], None]) -> None:
    """`work(task, params)` in `count` ranks of the stage `verb`: here, where this process is one of them or the only
    one, else in new processes, which come here again.
    """
    if count > 1 and not started_by_torchrun():
        launch(verb, task.name, count)
        return
    with joined(count, verb):
        work(task, params)


def started_by_torchrun() -> bool:
    """Whether this process is a rank that a launcher has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def launch(verb: str, task: str, count: int) -> None:
    """Run `stages.VERB` for a task in `count` ranks and wait for them.

    Raises StageError for what would come again, RuntimeError where ranks died more often than they may, and SystemExit
    with `PREEMPTED` where this process was asked to stop and the ranks have saved their state.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, get_args_parser

    nodes = int(os.environ.get("PET_NNODES", "1"))
    if count % nodes:
        raise StageError(f"{verb}.ranks is {count} on {nodes} machines (PET_NNODES); allowed: a multiple of {nodes}")
    settings = [f"--nproc-per-node={count // nodes}"]
    if "PET_MAX_RESTARTS" not in os.environ:
        settings.append(f"--max-restarts={_MAX_RESTARTS}")
    if nodes == 1:
        settings += ["--rdzv-backend=c10d", f"--rdzv-endpoint={_LOCAL}:0", f"--local-addr={_LOCAL}"]
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # The launcher would lend its ranks one store for all starts, in which a second start finds the addresses of the
    # dead and waits for them (github.com/pytorch/pytorch/issues/135712). So the first rank of each start opens its own.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    # Each rank sets its own threads; without the variable, torchrun says at length that it sets it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Tensors of megabytes that come and go: on huge pages a translator's steps on a CPU take 7 to 9 % less time.
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    config, *_ = config_from_args(get_args_parser().parse_args([*settings, "-m", f"stages.{verb}", task]))
    config.run_id = f"{verb}-{task}-{os.getpid()}" if nodes == 1 else config.run_id
    try:
        answers = elastic_launch(config, _as_rank)(verb, task)
    except SignalException:
        print(f"unroll: {verb} {task}: asked to stop; the next start goes on from the checkpoint", file=sys.stderr)
        sys.exit(PREEMPTED)
    except ChildFailedError as error:
        first, failure = error.get_first_failure()
        raise RuntimeError(
            f"rank {first} ended with {failure.exitcode} once more than the {config.max_restarts} restarts allow"
        ) from None
    errors = [answer for answer in answers.values() if answer]
    if errors:
        raise StageError(errors[0])


def _as_rank(verb: str, task: str) -> str | None:
    """One rank's whole life; an error that would come again is given back, since torchrun restarts whatever fails."""
    from .params import load
    from .tasks import Task

    try:
        getattr(import_module(f"{__package__}.{verb}"), verb)(Task(task), load()[task])
    except (StageError, ValueError, FileNotFoundError) as error:
        return str(error)
    return None


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
    _end_with_parent()
    if torch.cuda.is_available():
        here, found = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > found:
            raise StageError(f"{verb}.ranks puts {here} ranks on this machine, which has {found} GPUs")
        torch.cuda.set_device(device())
    process_group.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        process_group.destroy_process_group()


def _end_with_parent() -> None:
    """End this process when its launcher is gone, even by kill -9: it would train on beside its successor."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

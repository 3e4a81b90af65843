"""Ranks started for a stage that asks for more than one, with torchrun's own launcher and settings.

On one machine nothing else is needed; over several, each machine sets torchrun's variables (`PET_NNODES`,
`PET_NODE_RANK`, `PET_RDZV_BACKEND`, `PET_RDZV_ENDPOINT`, …) and runs the same command. `torchrun -m stages.train TASK`
works as well. A rank that dies takes the others with it, and all start again from the last checkpoint. Where UNROLL_RAY
names a cluster, Ray places the ranks there in torchrun's stead.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ..cluster import connection, ranks
from ..stopping import STATUS, stop_signals
from . import memory
from .distributed import PERMANENT, StageError, joined, rank, started_by_torchrun

_MAX_RESTARTS = 3
_LOCAL = "127.0.0.1"


def run(verb: str, task: str, count: int, work: Callable[..., None], *args: Any) -> None:
    """`work(*args)` in `count` ranks: here, where this process is one of them or the only one, else in new processes.

    `verb` and `task` are for messages; the params key is `VERB.ranks`. `work` and what it is given are pickled.
    """
    if not started_by_torchrun() and connection.address() is not None:
        _launch_on_cluster(verb, task, count, work, *args)
        return
    if count > 1 and not started_by_torchrun():
        _launch(verb, task, count, work, *args)
        return
    with joined(count, verb), memory.one_line():
        work(*args)


@contextmanager
def stoppable(verb: str, task: str, folder: Path) -> Iterator[Callable[[], bool]]:
    """Around a training in this rank: yields what asks whether it shall stop. Once it has, with its state in `folder`,
    one line says so and the process exits with stopping's STATUS.
    """
    from .loop import Stopped

    with ranks.stop_messages() if ranks.inside() else stop_signals() as stop_requested:
        try:
            yield stop_requested
        except Stopped:
            if rank() == 0:
                print(f"unroll: {verb} {task}: stopped; the next start resumes from {folder}")
            sys.exit(STATUS)


def _launch_on_cluster(verb: str, task: str, count: int, work: Callable[..., None], *args: Any) -> None:
    """The same as `_launch` on the cluster that UNROLL_RAY names, also for one rank."""
    rank = partial(_as_rank, verb, count, connection.importable(work), *args)
    try:
        ended = ranks.run(f"{verb}.ranks", count, rank, restarts=int(os.environ.get("PET_MAX_RESTARTS", _MAX_RESTARTS)))
    except connection.ClusterError as error:
        raise StageError(str(error)) from None
    if ended.message is not None:
        raise StageError(ended.message)
    if ended.stopped:
        print(f"unroll: {verb} {task}: stopped on request; the next start resumes from the checkpoint", file=sys.stderr)
        sys.exit(STATUS)


def _launch(verb: str, task: str, count: int, work: Callable[..., None], *args: Any) -> None:
    """Run `work(*args)` in `count` ranks and wait for them.

    Raises StageError for what would come again, RuntimeError where ranks died more often than they may, and SystemExit
    with stopping's STATUS where this process was asked to stop and the ranks have saved their state.
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
        errors = elastic_launch(config, _as_rank)(verb, count, work, *args)
    except SignalException:
        print(f"unroll: {verb} {task}: stopped on request; the next start resumes from the checkpoint", file=sys.stderr)
        sys.exit(STATUS)
    except ChildFailedError as error:
        first, failure = error.get_first_failure()
        status = f"{failure.exitcode}"
        if failure.exitcode == -signal.SIGKILL:
            status += " (killed; perhaps the machine ran out of memory)"
        raise RuntimeError(
            f"rank {first} ended with {status}, and all {config.max_restarts} restarts are used up"
        ) from None
    if message := next(filter(None, errors.values()), None):
        raise StageError(message)


def _as_rank(verb: str, count: int, work: Callable[..., None], *args: Any) -> str | None:
    """Run one rank; an error that would come again is returned, since torchrun restarts whatever fails.

    Where one rank alone has such an error, `joined` ends the others with its message. Memory that is full on one of
    several, where no step tells the others of it (validation, the optimizer's first step), may be free after a restart:
    it ends the rank, and torchrun starts all of them again.
    """
    try:
        with joined(count, verb), memory.one_line() if count == 1 else nullcontext():
            work(*args)
    except PERMANENT as error:
        return str(error) or type(error).__name__  # an empty text would pass for success
    return None

"""One stage in a checkout: decided, locked, given its GPUs, run by DVC. Nothing here knows Prefect.

Any number of stages, flows and processes may do so at once in the same checkout. A stage runs alone, and while it runs
nothing replaces the outputs that it reads: its own lock is held exclusively, those of the stages before it are shared.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from stages.cluster.connection import VARIABLE as CLUSTER

from ..dag import Pipeline, PlannedStage
from .locks import StoppedError, leased, locked
from .supervisor import run_supervised
from .worktree import in_use


class StageError(RuntimeError):
    """A stage, or the `dvc` around it, failed; the message holds its last lines of output."""


class TimeLimitError(StageError):
    """A stage was ended at its time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a stage was brought up to date.

    `cached`: nothing had changed, and no process was started. `restored`: DVC checked out a result it had. `ran`: it
    computed.
    """

    kind: Literal["cached", "restored", "ran"]
    message: str  # why it ran


UNCHANGED = Outcome(kind="cached", message="nothing has changed")


class Checkout:
    """A folder with the pipeline in it, for a piece of work that `stop` ends; may be used from several threads.

    `pipeline` is the graph as it was when this was made. All that runs here, on this machine, gets `environment`.
    """

    def __init__(
        self, root: Path, *, stop: threading.Event, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.root = root.resolve()
        self.stop = stop
        self.environment = environment
        self.pipeline = self._latest = Pipeline(self.root)
        self._stamp = self._lock_stamp()
        self._mutex = threading.Lock()

    def decide(self, name: str, *, force: bool = False) -> PlannedStage:
        """Whether a stage must run, as things are now."""
        with self._mutex:
            if self._stamp != self._lock_stamp():
                self._stamp = self._lock_stamp()
                self._latest = Pipeline(self.root)
            return self._latest.decide(name, force=force)

    def lock_file(self, name: str) -> Path:
        """The file whose lock a stage holds while it runs. DVC's folder for such things; git does not see it."""
        return self.root / ".dvc" / "tmp" / "flows" / f"{name}.lock"

    def dvc(
        self,
        *arguments: str,
        timeout: float | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        descriptors: tuple[int, ...] = (),
        on_line: Callable[[str], None],
    ) -> None:
        """Run `dvc` in a process of its own, which waits for DVC's lock where another has it.

        Raises StageError, TimeLimitError, and StoppedError when `stop` is set before it is done.
        """
        with in_use(self.root) as held:
            result = run_supervised(
                [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
                folder=self.root,
                environment={**self.environment, **environment},
                timeout=timeout,
                stop=self.stop,
                descriptors=(*descriptors, *held),
                on_line=on_line,
            )
        if self.stop.is_set():
            raise StoppedError(f"dvc {arguments[0]}: stopped")
        tail = "\n".join(line for line in result.tail if line.strip())
        if result.timed_out:
            raise TimeLimitError(f"not finished after {timeout:g} s; its last output:\n{tail}")
        if result.status:
            raise StageError(f"dvc {arguments[0]} ended with status {result.status}; its last output:\n{tail}")

    def _lock_stamp(self) -> tuple[int, int, int] | None:
        try:
            status = (self.root / "dvc.lock").stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def run_stage(checkout: Checkout, name: str, *, force: bool = False, on_line: Callable[[str], None]) -> Outcome:
    """Bring one stage up to date; those before it must be. Raises as `Checkout.dvc` does.

    Lines of output, and what it waits for, go to `on_line`.
    """
    with stage_locks(checkout, name, on_line) as descriptors:
        planned = checkout.decide(name, force=force)
        if planned.verdict == "cached":
            return UNCHANGED
        needs = checkout.pipeline.resources(name)
        # On a cluster, Ray gives each rank its GPU.
        gpus = needs.gpus * (1 if os.environ.get(CLUSTER) else checkout.pipeline.ranks(name))
        with leased(gpus, stop=checkout.stop, on_wait=lambda: on_line("waiting for a GPU")) as lease:
            visible = {"CUDA_VISIBLE_DEVICES": ",".join(lease.devices)} if lease.devices or not gpus else {}
            checkout.dvc(
                *("repro", "--quiet", "--single-item", *(("--force",) if force else ()), name),
                timeout=needs.timeout,
                environment=visible,
                descriptors=(*descriptors, *lease.descriptors),
                on_line=on_line,
            )
    return finished(planned)


def finished(planned: PlannedStage) -> Outcome:
    """The outcome of a stage that was brought up to date as planned."""
    kind: Literal["restored", "ran"] = "restored" if planned.verdict == "restore" else "ran"
    return Outcome(kind=kind, message="; ".join(planned.reasons))


@contextmanager
def stage_locks(checkout: Checkout, name: str, on_line: Callable[[str], None]) -> Iterator[tuple[int, ...]]:
    """Hold a stage's lock alone and share those of the stages before it; gives their descriptors.

    Everybody takes them in the pipeline's order, so that no two wait for each other.
    """
    wanted = {name, *checkout.pipeline.upstream(name)}
    with ExitStack() as stack:
        descriptors = []
        for other in (other for other in checkout.pipeline if other in wanted):
            on_wait = partial(on_line, f"waiting for another run of {other}")
            lock = locked(checkout.lock_file(other), shared=other != name, stop=checkout.stop, on_wait=on_wait)
            descriptors.append(stack.enter_context(lock))
        yield tuple(descriptors)

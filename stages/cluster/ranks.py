"""Processes that train together, placed on the cluster by Ray Train and started again when one of them dies."""

from __future__ import annotations

import importlib
import io
import logging
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..paths import resume_address
from ..stopping import STATUS, stop_signals
from . import arrival, outputs, place
from .arrival import Place, node_folder
from .connection import ClusterError, connected, described, running_stage, total
from .remote import Cargo, fetch, stage_files

_POLL = 0.5  # seconds between two looks at what was asked or told
_LOOK_SECONDS = 5.0  # between two looks at which nodes are left
_STOP_SECONDS = 30.0  # that ranks have to save their state in, as torchrun gives them
_START_SECONDS = "60"  # until ranks that find no place are given up, once more for each restart

Work = Callable[[], str | None]  # gives back what would come again if it were started again


@dataclass(frozen=True)
class Ended:
    """How ranks ended that did not fail: with a message that says what would come again, stopped, or done."""

    message: str | None = None
    stopped: bool = False


class _Printed(io.TextIOBase):
    """The standard output or error of a rank: whole lines go to the mailbox, as they are."""

    def __init__(self, mailbox: Any, stream: str) -> None:
        self._mailbox, self._stream, self._begun = mailbox, stream, ""

    def write(self, text: str) -> int:
        lines, end, rest = (self._begun + text).rpartition("\n")
        self._begun = rest
        if end:
            self._mailbox.print.remote(self._stream, lines + end)
        return len(text)


_of_this_rank: Any = None  # the mailbox, in a process that is a rank


def inside() -> bool:
    """Whether this process is a rank on a cluster: signals reach the process that has started it, and not this one."""
    return _of_this_rank is not None


@contextmanager
def stop_messages() -> Iterator[Callable[[], bool]]:
    """Inside the block, in a rank: yields what says whether the process that started the ranks was asked to stop.

    Raises ClusterError where a node would keep the states of the training to itself.
    """
    import ray

    if place.own_resume() is not None and resume_address() is None:
        raise ClusterError(
            f"node {socket.gethostname()} does not share the folder with the training's checkpoints; set UNROLL_RESUME "
            "to an address that all nodes reach, such as s3://BUCKET/FOLDER, or a folder that all nodes share"
        )

    requested, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(_POLL):
            try:
                if ray.get(_of_this_rank.stop_requested.remote()):
                    requested.set()
                    return
            except ray.exceptions.RayError:  # who started us is gone, and Ray ends this process
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield requested.is_set
    finally:
        over.set()


def run(name: str, count: int, work: Work, *, restarts: int) -> Ended:
    """`work()` in `count` ranks, joined by gloo, or by NCCL with a GPU each where the cluster has any.

    A rank or node that dies ends the others, and all start again, up to `restarts` times. Asked to stop, this process
    hands that on and gives the ranks time to save. Raises ClusterError where there is no place for so many ranks, or
    they died more often than they may. Where a node does not share this folder, it is brought what the stage reads, and
    what the stage writes comes back.
    """
    with connected() as ray, place.opened(ray) as here, stop_signals() as stop_requested:
        gpu = _has_gpus(ray, name, count)
        beside = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        mailbox = ray.remote(num_cpus=0, scheduling_strategy=beside)(arrival.Mailbox).remote()
        config = {"place": here, "mailbox": mailbox, **_sent(here, work)}
        with TemporaryDirectory(prefix="unroll-ray-") as storage, outputs.Received() as received:
            fitting = _Fitting(_trainer(config, count, gpu=gpu, restarts=restarts, storage=storage))
            asked: float | None = None
            waits, looked = False, time.monotonic()
            while fitting.wait(_POLL):
                if time.monotonic() - looked > _LOOK_SECONDS:
                    waits, looked = _tell_if_it_waits(ray, name, count, gpu=gpu, told=waits), time.monotonic()
                if message := _news(ray, mailbox, received):
                    return Ended(message)
                if stop_requested() and asked is None:
                    asked = time.monotonic()
                    ray.get(mailbox.ask_to_stop.remote())
                if asked is not None and time.monotonic() - asked > _STOP_SECONDS:
                    return Ended(stopped=True)
            if message := _news(ray, mailbox, received):
                return Ended(message)
            if fitting.error is not None:
                raise ClusterError(_reason(fitting.error, name, count, restarts, described(ray)))
            received.lay()
            return Ended(stopped=fitting.value == STATUS)


def _sent(here: Place, work: Work) -> dict[str, Any]:
    """The work, with what a node that does not share this folder fetches for the stage, and what it sends back."""
    if here["code"] is None:
        return {"work": place.packed((work, []))[0], "outputs": []}
    stage = running_stage()
    if stage is None:
        raise ClusterError(
            "a node does not share this folder, and only stages of dvc.yaml say which files to send there"
        )
    reads, writes = stage_files(stage)
    files = Cargo().files(reads)
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    if stage.startswith("train@") and (not store or store.startswith(("sqlite:", "file:", "/", "."))):
        print(
            "unroll: MLflow: a node does not share this folder, and MLFLOW_TRACKING_URI names no server: metrics "
            "recorded there are lost; `register` restores the run from the learning curve",
            file=sys.stderr,
        )
    return {"work": place.packed((work, files))[0], "outputs": [path.as_posix() for path in writes]}


def _news(ray: Any, mailbox: Any, received: outputs.Received) -> str | None:
    """Print what the ranks have printed, take what they send; returns what would come again."""
    printed, pieces, message = ray.get(mailbox.news.remote())
    for offset, piece in pieces:
        received.write(offset, piece)
    for stream, text in printed:
        print(text, end="", file=getattr(sys, stream), flush=True)
    return message


def _has_gpus(ray: Any, name: str, count: int) -> bool:
    """Whether ranks get a GPU each. Raises ClusterError where the cluster has fewer GPUs, or CPUs, than ranks."""
    gpu = total(ray, "GPU") > 0
    if lacking := _lacking(ray, count, gpu=gpu):
        raise ClusterError(f"{name} asks for {lacking}")
    return gpu


def _lacking(ray: Any, count: int, *, gpu: bool) -> str:
    """What so many ranks need and what the cluster has, if that is less; else nothing."""
    if all(total(ray, kind) >= count for kind in ("CPU", *(["GPU"] if gpu else []))):
        return ""
    needed = "a GPU and a CPU" if gpu else "a CPU"
    return f"{count} rank{'s' * (count != 1)}, {needed} each; the cluster has {described(ray)}"


def _tell_if_it_waits(ray: Any, name: str, count: int, *, gpu: bool, told: bool) -> bool:
    """Say once that too few nodes are left, while Ray Train waits for one to come back, and once that it has."""
    lacking = _lacking(ray, count, gpu=gpu)
    if lacking and not told:
        print(f"unroll: {name} waits a few minutes for {lacking}", file=sys.stderr, flush=True)
    if told and not lacking:
        print(f"unroll: {name}: the cluster has room again; the ranks start", file=sys.stderr, flush=True)
    return bool(lacking)


def _trainer(config: dict[str, Any], count: int, *, gpu: bool, restarts: int, storage: str) -> Any:
    # Driver-side settings of Ray Train, which it reads when it starts.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(_POLL))
    os.environ["RAY_TRAIN_ENABLE_PRINT_PATCH"] = "0"
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", _START_SECONDS)
    train, torch = (importlib.import_module(name) for name in ("ray.train", "ray.train.torch"))
    return torch.TorchTrainer(
        arrival.run_rank,
        train_loop_config=config,
        # Both, since what ranks tell each other beside gradients lies on the CPU.
        torch_config=torch.TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
        scaling_config=train.ScalingConfig(num_workers=count, use_gpu=gpu, resources_per_worker={"CPU": 1}),
        run_config=train.RunConfig(
            name=uuid.uuid4().hex,
            storage_path=storage,  # for what Ray Train writes of itself: our states lie in the resume folder
            failure_config=train.FailureConfig(max_failures=restarts, controller_failure_limit=restarts),
        ),
    )


def as_rank(config: dict[str, Any]) -> int:
    """One rank; what would come again is told, since Ray Train starts again whatever fails."""
    global _of_this_rank
    _of_this_rank = config["mailbox"]
    import ray

    logging.getLogger().setLevel(logging.WARNING)  # Ray has it tell what any library does
    printed = [_Printed(_of_this_rank, stream) for stream in ("stdout", "stderr")]
    try:
        shared = place.enter(config["place"])
        work, files = place.unpacked(config["work"])
        if not shared:
            fetch(node_folder(config["place"]), files)
        with redirect_stdout(printed[0]), redirect_stderr(printed[1]):
            message = work()
    except ClusterError as error:
        message = str(error)
    except SystemExit as ended:
        if ended.code != STATUS:
            raise
        return STATUS
    if message is not None:
        ray.get(_of_this_rank.tell.remote(message))
    elif not shared and importlib.import_module("ray.train").get_context().get_world_rank() == 0:
        outputs.send(
            [Path(name) for name in config["outputs"]], lambda *piece: ray.get(_of_this_rank.offer.remote(*piece))
        )
    return 0


class _Fitting:
    """Ray Train at work in a thread, so that signals stay with the process's first one."""

    def __init__(self, trainer: Any) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._trainer = trainer
        self._thread = threading.Thread(target=self._fit, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether it is still at work after so many seconds."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def _fit(self) -> None:
        try:
            self.value = self._trainer.fit().return_value
        except BaseException as error:  # for the thread that waits
            self.error = error


def _reason(error: BaseException, name: str, count: int, restarts: int, there: str) -> str:
    """Why ranks ended, in a line."""
    cause = getattr(error, "controller_failure", None) or error
    if type(cause).__name__ == "WorkerGroupStartupTimeoutError":
        return f"{name}: no free resources for {count} ranks; another job may hold them; the cluster has {there}"
    failures = getattr(error, "worker_failures", {})
    which = f"rank {min(failures)}" if failures else "a rank"
    first = failures[min(failures)] if failures else cause
    text = next((line for line in reversed(str(first).strip().splitlines()) if line.strip()), type(first).__name__)
    return f"{which} failed, and all {restarts} restarts are used up: {text.strip()}"

"""What MLflow gets to know of a training: its steps, epochs, measurements, the data and the code it came from.

A training never waits for the store. It appends to a spool (`spool`), and a process beside it (`mlflow_runs`) sends
what is new every few seconds (`delivery`). It is a process and not a thread, since MLflow's import of seconds and its
writes would share the interpreter with the steps, and since it can close the run of a training that was killed.
Where the store is away, what is left is sent by a later training, by `register` or by `python -m stages.registry sync`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..params_yaml import flatten
from ..paths import search_path
from ..provenance.hashes import content_md5, locked_stages
from ..sources.pins import FOLDER, path_of
from ..training import learning_curve
from . import spool
from .store import store_name, without_credentials

if TYPE_CHECKING:
    from ..params import TaskParams
    from ..tasks.protocol import Task
    from ..training.progress import Epoch

TAGS_VARIABLE = "UNROLL_RUN_TAGS"  # JSON: more tags for the runs of this process, from whoever ordered the training

_SYSTEM_SECONDS = 10.0  # between two samples of the machine
_RESTORED = (
    "**Restored**: this run was created from files (the learning curve and the metrics of `evaluate`), not by a "
    "training. The training ran elsewhere or recorded to another store; its duration and the metrics of its steps are "
    "unknown, and the commit and changes are those of the checkout that created this run."
)
# Whatever the user's own git is set to.
_DIFFERENCE = ("diff", "--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/")
# How long the end of a training waits for what is left to be sent, since its sender last reported something: nothing
# yet, as it still imports MLflow or makes the local store; that the store answers; that it is away.
_FLUSH_SECONDS = {b"": 120.0, b"+": 20.0, b"-": 3.0}


class TrainingRun:
    """Records a training while it goes on. Every call is cheap, fails never and may come from any thread."""

    def __init__(self, begin: spool.Start) -> None:
        self._lock = threading.Lock()
        self._step: int | None = None
        self._system = _System()
        self._sampled = time.monotonic()
        self._spool: spool.Spool | None = None
        self._sender: _Sender | None = None
        self._started = time.perf_counter()
        with self._lock, self._giving_up():
            self._spool = spool.Spool(begin, spool.folder())
            self._sender = _Sender(self._spool.path)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers by name at a global step (0 is the first): `step_loss`, `step_gradient_norm`, …

        Of a name and a step, MLflow keeps the first value. Every ten seconds, the machine's load and memory are
        recorded as well.
        """
        with self._lock:
            self._step = step if self._step is None else max(self._step, step)
            self._append(values, step)
            if time.monotonic() - self._sampled >= _SYSTEM_SECONDS:
                self._sampled = time.monotonic()
                self._append(self._system.sample(), step)

    def constants(self, values: Mapping[str, float]) -> None:
        """Record numbers that hold for the whole training."""
        with self._lock:
            self._append(values, 0)

    def epoch(self, record: Epoch, prefix: str = "") -> None:
        """Record an epoch, with the measurements that no output may hold; its step is the epoch's number. Of a refit,
        all names begin with a `prefix`.
        """
        measured = {
            "epoch_seconds": record.seconds,
            "sequences_per_second": record.sequences_per_second,
            "data_wait_share": record.data_wait_share,
            **({"compiled_graphs": record.compiled_graphs} if record.compiled_graphs else {}),
            "memory_megabytes": self._system.process_megabytes(),
        }
        values = _measured(learning_curve.epoch_row(record)) | measured
        with self._lock:
            self._append({f"{prefix}{name}": value for name, value in values.items()}, record.epoch)

    def end(self, status: str) -> None:
        """Record how it ended, and wait a little for what is left to be sent."""
        if self._spool is None:
            return
        with self._lock, self._giving_up():
            self._spool.append(_end_event(status, time.perf_counter() - self._started))
            self._spool.close()
        if self._sender is not None:
            self._sender.finish()

    def _append(self, values: Mapping[str, float], step: int) -> None:
        if self._spool is not None:
            with self._giving_up():
                self._spool.append(_metrics_event(values, step, at=self._step))

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """A disk that fails ends the recording, not the training."""
        try:
            yield
        except OSError as error:
            self._spool = None
            print(f"unroll: MLflow: {error}; the training continues without recording", file=sys.stderr)


@contextmanager
def training_run(
    task: Task, params: TaskParams, signature: str, *, parameters: int, devices: str, resumed_step: int | None = None
) -> Iterator[TrainingRun]:
    """A run around a training: FINISHED, FAILED where the block raises, KILLED where it is stopped.

    `parameters` is the number of weights, `devices` what they are trained on, in words. `resumed_step` is the first
    global step that this process reports where it goes on from a checkpoint of an earlier one: it goes on in that one's
    run as well, and the steps that it repeats stand there once. None begins a new run.
    """
    begin = start(task, params, signature, resumed_step=resumed_step)
    run = TrainingRun(replace(begin, tags={**begin.tags, "unroll.devices": devices}))
    run.constants({"parameters": parameters})
    try:
        yield run
    except BaseException as error:
        run.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.end("FINISHED")


def record_finished(task: Task, params: TaskParams, signature: str, epochs: Sequence[Mapping[str, float]]) -> None:
    """Write the spool of a training that ran elsewhere, from its learning curve; how long it took is not known. Its
    run says that it is restored.
    """
    begin = start(task, params, signature)
    tags = {"mlflow.runName": f"{task.name}-{signature[:8]} (restored)", "mlflow.note.content": _RESTORED, **begin.tags}
    file = spool.Spool(replace(begin, tags={**tags, "unroll.restored": "true"}), spool.folder())
    for row in epochs:
        file.append(_metrics_event(_measured(row), int(row["epoch"]), at=None))
    file.append(_end_event("FINISHED", None))
    file.close()


def start(task: Task, params: TaskParams, signature: str, *, resumed_step: int | None = None) -> spool.Start:
    """What a run of this training is made of, as it is now."""
    tags, difference = lineage(task)
    values = flatten(params.model_dump(by_alias=True))
    return spool.Start(
        task=task.name,
        signature=signature,
        attempt=spool.new_attempt(),
        resumed_step=resumed_step,
        store=store_name(),
        time=_now(),
        params={name: without_credentials(str(value)) for name, value in values.items()},
        tags=tags | json.loads(os.environ.get(TAGS_VARIABLE, "{}")),
        data=content_md5(task.paths.prepared),
        data_path=task.paths.prepared.as_posix(),
        difference=without_credentials(difference),
    )


def lineage(task: Task) -> tuple[dict[str, str], str]:
    """Tags with the commit, whether there are uncommitted changes, and the data; and the changes for `git apply`."""
    commit = _git("rev-parse", "HEAD").strip()
    untracked = _git("ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]
    # `dvc.lock` changes with every run and says what came out, not what went in. Pins are data, and have a tag.
    difference = _git(*_DIFFERENCE, "HEAD", "--", ".", ":(exclude)dvc.lock", f":(exclude){FOLDER}/*.json")
    untracked = [name for name in untracked if Path(name).parent != FOLDER]
    # New code belongs to it. Other files may be anything, a file of passwords too, and no stage reads them.
    difference += "".join(
        _git(*_DIFFERENCE, "--no-index", "--", "/dev/null", name) for name in untracked if name.startswith("stages/")
    )
    facts = {"unroll.git_commit": commit or "none", "unroll.git_dirty": str(bool(difference or untracked)).lower()}
    pin = path_of(task.paths.dataset_task).as_posix()
    for verb in ("download", "preprocess"):
        locked = locked_stages().get(f"{verb}@{task.paths.dataset_task}", {})
        pinned = [dep for dep in locked.get("deps", []) if dep["path"] == pin]
        for entry in (*pinned, *locked.get("outs", [])):
            facts[f"unroll.lock.{entry['path'].replace('/', '.')}"] = str(entry.get("md5"))
    return facts, difference


class _Sender:
    """The process that sends a spool while its training goes on: until a byte from us, or our sudden end."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stages.tracking.mlflow_runs", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search_path()},
        )

    def finish(self) -> None:
        """Let it send what is left, for as long as that makes sense, and end it."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        with suppress(OSError):  # where the sender has died, the spool stays
            process.stdin.write(b"e")  # not only closed, since a child of ours may hold the pipe open
            process.stdin.close()
        reported, since = b"", time.monotonic()
        while process.poll() is None:
            if state := (process.stdout.read() or b"")[-1:]:
                reported, since = state, time.monotonic()
            if time.monotonic() - since > _FLUSH_SECONDS[reported]:
                process.kill()
                process.wait()
                print("unroll: MLflow: unsent records are kept and sent later", file=sys.stderr)
            time.sleep(0.05)
        process.stdout.close()


class _System:
    """What the machine is doing, in megabytes (10^6 bytes) and percent, under MLflow's own names where it has one."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        psutil.cpu_percent()  # each call measures since the one before

    def sample(self) -> dict[str, float]:
        """One sample; some milliseconds."""
        import torch

        memory = self._psutil.virtual_memory()
        values = {
            "system/cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / 1e6,
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_memory_megabytes": self.process_megabytes(),
        }
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            free, total = torch.cuda.mem_get_info()
            values["system/gpu_0_memory_usage_megabytes"] = (total - free) / 1e6
            values["system/gpu_0_memory_usage_percentage"] = 100 * (total - free) / total
        return values

    def process_megabytes(self) -> float:
        """The resident memory of this process; its workers' is not in it."""
        return self._psutil.Process().memory_info().rss / 1e6


def _metrics_event(values: Mapping[str, float], step: int, *, at: int | None) -> spool.Event:
    numbers = {name: float(value) for name, value in values.items()}
    return {"kind": "metrics", "time": _now(), "step": step, "at": at, "values": numbers}


def _measured(row: Mapping[str, float]) -> dict[str, float]:
    """A row of the learning curve without its epoch, which is the step of all its metrics."""
    return {name: value for name, value in row.items() if name != "epoch"}


def _end_event(status: str, seconds: float | None) -> spool.Event:
    return {"kind": "end", "time": _now(), "status": status, "seconds": seconds}


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], capture_output=True, check=False)
    # 1: there is a difference. Not read as text, which would turn the line ends of a patch.
    return answer.stdout.decode(errors="replace") if answer.returncode in (0, 1) else ""


def _now() -> int:
    return int(time.time() * 1000)

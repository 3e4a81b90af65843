"""Trainings on snapshots: one for all policies that train on the same data, kept by signature.

    .resume/replay/SIGNATURE/     a checkout's folders with what train and evaluate wrote, and training.json: how long
    .resume/replay/.SIGNATURE/    the same on its way, with the data

The signature hashes all that decides training and evaluation: a later replay finds what an earlier one has trained, and
one that was killed goes on from the last checkpoint. A folder gets its final name when all is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from stages.data.files import read_json, write_json
from stages.params_yaml import PARAMS_FILE
from stages.paths import resume_folder, search_path
from stages.progress_bar import ProgressBar
from stages.provenance.hashes import code_md5, training_signature
from stages.tasks.forecast.data.series import calendar_date
from stages.tasks.forecast.params import Params
from stages.tasks.protocol import Task

from .raw_files import RawFiles
from .snapshot import Snapshot

_FACTS, _LOG, _RESUME = "training.json", "train.log", "resume"
_END_SECONDS = 60.0  # for a training to save its state
_POLL = 0.1


class Stopped(RuntimeError):
    """A training was ended before it was done, since the replay is."""


@dataclass(frozen=True)
class Training:
    """A training that is kept."""

    day: int  # of its snapshot, days since 1970-01-01
    signature: str
    folder: Path  # laid out as a checkout, with weights, metrics and plots
    weights: Path  # in it
    seconds: float  # by the clock, those of interrupted attempts and of the evaluation included


class Trainings:
    """The trainings of a task, made where they are not there yet; at most `parallel` at once, each a process.

    In `scratch` lies the params.yaml that `params` were read from: who edits that of the checkout meanwhile changes no
    training. A context manager: at its end, those that still run are asked to save their state.
    """

    def __init__(self, task: Task, params: Params, raw: RawFiles, scratch: Path, *, parallel: int) -> None:
        self._task, self._params, self._raw, self._scratch = task, params, raw, scratch
        self._parallel = parallel
        self._kept = resume_folder() / "replay"
        self._by_day: dict[int, Training] = {}
        # By signature: days without news have the same.
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._kept.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._kept / "lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise RuntimeError(f"another replay is running and holds {self._kept / 'lock'}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._lock.release()

    def make(self, days: Sequence[int]) -> None:
        """Train on the data of each day. Raises RuntimeError for one that fails, with the last line it has said."""
        pool = ThreadPoolExecutor(self._parallel)
        with ProgressBar("replay: train", unit="trainings", total=len(days)) as bar:
            try:
                futures = [pool.submit(self.of, day) for day in days]
                for future in futures:
                    future.add_done_callback(lambda _: bar.update())
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                self._ended.set()
                raise
            finally:
                pool.shutdown(cancel_futures=True)

    def of(self, day: int) -> Training:
        """The training on the data as it stood at the end of a day."""
        if day not in self._by_day:
            folder = self._scratch / f"train-{day}"
            snapshot = Snapshot.take(self._task, self._params, self._raw, day, folder)
            self._by_day[day] = self._training(snapshot)
            shutil.rmtree(folder, ignore_errors=True)
        return self._by_day[day]

    def _training(self, snapshot: Snapshot) -> Training:
        signature = self._signature(snapshot)
        final, partial = self._kept / signature, self._kept / f".{signature}"
        with self._locks[signature]:
            self._ensure(snapshot, final, partial)
        seconds = float(read_json(final / _FACTS)["seconds"])
        return Training(snapshot.day, signature, final, final / self._task.paths.weights, seconds)

    def _ensure(self, snapshot: Snapshot, final: Path, partial: Path) -> None:
        if (final / _FACTS).is_file():
            return
        partial.mkdir(parents=True, exist_ok=True)
        for made in (snapshot.prepared, snapshot.preparation_metrics):
            target = partial / made.relative_to(snapshot.folder)
            if target.is_dir():
                shutil.rmtree(target)
            (shutil.copytree if made.is_dir() else _copy)(made, target)
        shutil.copyfile(self._scratch / PARAMS_FILE, partial / PARAMS_FILE)
        seconds = self._run(partial)
        for folder in (partial / self._task.paths.prepared.parts[0], partial / _RESUME):
            shutil.rmtree(folder, ignore_errors=True)
        write_json(partial / _FACTS, {"seconds": round(seconds, 1), "as_of": str(calendar_date(snapshot.day))})
        partial.rename(final)

    def _signature(self, snapshot: Snapshot) -> str:
        from stages.training.distributed import device

        paths, params = self._task.paths, self._params
        paths.prepared = snapshot.prepared
        training = training_signature(paths, params.model.model_dump(), params.train.model_dump(), device().type)
        evaluation = code_md5(["stages.evaluate", f"stages.tasks.{self._task.name}.evaluate.evaluate"])
        facts = [training, evaluation, params.evaluate.model_dump()]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def _run(self, folder: Path) -> float:
        """Train in a folder; returns the seconds that it took in all attempts."""
        attempts, log = folder / "attempts.json", folder / _LOG
        before = float(read_json(attempts)["seconds"]) if attempts.is_file() else 0.0
        if attempts.is_file() and log.is_file():  # killed: its last line says how far it came
            before += max(0.0, log.stat().st_mtime - float(read_json(attempts)["started"]))
        write_json(attempts, {"seconds": before, "started": time.time()})
        started = time.monotonic()
        command = [sys.executable, "-P", "-m", "flows.replay.train_snapshot", self._task.name]
        # Its checkpoint lies beside it: the newest snapshot is the data that a `dvc repro` may be training on just now.
        environment = {**os.environ, "PYTHONPATH": search_path(), "UNROLL_RESUME": str(folder / _RESUME)}
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the replay, which asks it to stop
            )
            try:
                while process.poll() is None:
                    if self._ended.wait(_POLL):
                        raise Stopped("the replay was stopped; the next start resumes its trainings")
            finally:
                _end(process)
        if process.returncode:
            said = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"{said or f'status {process.returncode}'} (see {log})")
        attempts.unlink()
        return before + time.monotonic() - started


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a training that still runs to save its state, and wait for it."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

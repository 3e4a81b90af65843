"""Runs in MLflow: one a training, with its epochs, its measurements, its data and the code it came from.

A run is found by the signature of its training and made anew where the store has none, so no DVC output ever holds a
run id. Where no server is named by MLFLOW_TRACKING_URI, the store is `mlflow.db` in the main checkout. A store that
fails does not fail a training: what could not be sent is said in one line, and `register` makes the run anew from the
outputs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock

# Read by MLflow when it is imported: no telemetry, no bars in logs, no minutes of waiting for a server that is away.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from . import learning_curve
from .json_files import read_json
from .params import flatten
from .paths import Paths, project_root
from .signature import content_md5, locked_stages

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from .engine import Epoch
    from .params import TaskParams
    from .tasks import Task

SIGNATURE_TAG = "unroll.signature"
TASK_TAG = "unroll.task"
_STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)


def store_uri() -> str:
    """MLFLOW_TRACKING_URI, or else the absolute address of the local store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlflow.db'}"


def client() -> MlflowClient:
    """A client of the store, which is made where it is missing: one process at a time, or migrations would collide."""
    uri = store_uri()
    mlflow.set_tracking_uri(uri)
    if uri.startswith("sqlite:///"):
        with FileLock(f"{uri.removeprefix('sqlite:///')}.lock"):
            made = mlflow.MlflowClient(uri)
            made.search_experiments(max_results=1)
            return made
    return mlflow.MlflowClient(uri)


def find_run(store: MlflowClient, task: Task, signature: str) -> Run | None:
    """The newest run of this training, or None."""
    experiment = store.get_experiment_by_name(_experiment_name(task))
    if experiment is None:
        return None
    condition = f"tags.`{SIGNATURE_TAG}` = '{signature}'"
    runs = store.search_runs(
        [experiment.experiment_id], condition, order_by=["attributes.start_time DESC"], max_results=1
    )
    return runs[0] if runs else None


class TrainingRun:
    """A run while its training goes on. After the store's first failure it is silent."""

    def __init__(self, start: Callable[[], tuple[MlflowClient, str]]) -> None:
        self._target: tuple[MlflowClient, str] | None = None
        try:
            self._target = start()
        except _STORE_ERRORS as error:
            _warn(error)

    def _send(self, action: Callable[[MlflowClient, str], None]) -> None:
        if self._target is None:
            return
        try:
            action(*self._target)
        except _STORE_ERRORS as error:
            self._target = None
            _warn(error)

    def epoch(self, record: Epoch) -> None:
        """Log one epoch, with the durations that no output may hold."""
        values = learning_curve.row(record) | {
            "epoch_seconds": record.seconds,
            "sequences_per_second": record.sequences_per_second,
        }

        def log(store: MlflowClient, run_id: str) -> None:
            store.log_batch(run_id, metrics=_metrics(values, record.epoch))

        self._send(log)

    def end(self, status: str, seconds: float) -> None:
        """Close the run with its wall time."""

        def close(store: MlflowClient, run_id: str) -> None:
            store.log_metric(run_id, "training_seconds", seconds)
            store.set_terminated(run_id, status)

        self._send(close)


@contextmanager
def training_run(task: Task, params: TaskParams, signature: str, *, parameters: int) -> Iterator[TrainingRun]:
    """A new run around a training: FINISHED, or FAILED where the block raises."""
    started = time.perf_counter()

    def start() -> tuple[MlflowClient, str]:
        store = client()
        run_id = _create(store, task, params, signature)
        store.log_metric(run_id, "parameters", parameters)
        return store, run_id

    run = TrainingRun(start)
    try:
        yield run
    except BaseException:
        run.end("FAILED", time.perf_counter() - started)
        raise
    run.end("FINISHED", time.perf_counter() - started)


def log_evaluation(store: MlflowClient, run_id: str, task: Task) -> None:
    """Log the test metrics, the learning curve and the pictures of the evaluate stage to the training's run."""
    paths = Paths(task.name)
    numbers = {f"test_{k}": v for k, v in read_json(paths.metrics).items() if isinstance(v, (int, float))}
    store.log_batch(run_id, metrics=_metrics(numbers, 0))
    store.log_artifacts(run_id, str(paths.evaluation), "evaluation")
    store.log_artifact(run_id, str(paths.learning_curve))


def ensure_run(store: MlflowClient, task: Task, params: TaskParams, signature: str) -> str:
    """The id of the training's run; a result that came from a cache gets a new one, with its learning curve."""
    found = find_run(store, task, signature)
    if found is not None:
        return found.info.run_id
    run_id = _create(store, task, params, signature)
    for row in learning_curve.read(Paths(task.name).learning_curve):
        store.log_batch(run_id, metrics=_metrics(row, int(row["epoch"])))
    store.set_terminated(run_id, "FINISHED")
    return run_id


def _create(store: MlflowClient, task: Task, params: TaskParams, signature: str) -> str:
    experiment_id = _experiment(store, task)
    facts, difference = lineage(task)
    tags = [RunTag("mlflow.runName", f"{task.name}-{signature[:8]}"), RunTag(TASK_TAG, task.name)]
    tags += [RunTag(SIGNATURE_TAG, signature), *(RunTag(name, value) for name, value in facts.items())]
    run_id = store.create_run(experiment_id).info.run_id
    values = flatten(params.model_dump(by_alias=True))
    store.log_batch(run_id, params=[Param(name, str(value)) for name, value in values.items()], tags=tags)
    # The digest is DVC's md5, so that "which models came from this data" is one search of MLflow.
    prepared = Paths(task.name).prepared
    source = json.dumps({"path": prepared.as_posix()})
    data = Dataset(name=task.name, digest=content_md5(prepared), source_type="dvc", source=source)
    store.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    if difference:
        store.log_text(run_id, difference, "uncommitted.diff")
    return run_id


def lineage(task: Task) -> tuple[dict[str, str], str]:
    """Tags that say which commit, uncommitted change and data a run stands on; and that change as a diff."""
    commit = _git("rev-parse", "HEAD").strip()
    # `dvc.lock` changes with every run and says what came out, not what went in.
    difference = _git("diff", "HEAD", "--", ".", ":(exclude)dvc.lock")
    untracked = _git("ls-files", "--others", "--exclude-standard").split()
    facts = {"unroll.git_commit": commit or "none", "unroll.git_dirty": str(bool(difference or untracked)).lower()}
    for verb in ("download", "preprocess"):
        for out in locked_stages().get(f"{verb}@{task.name}", {}).get("outs", []):
            facts[f"unroll.lock.{out['path'].replace('/', '.')}"] = str(out.get("md5"))
    return facts, difference


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, errors="replace")
    return answer.stdout if answer.returncode == 0 else ""


def _experiment_name(task: Task) -> str:
    return f"unroll/{task.name}"


def _experiment(store: MlflowClient, task: Task) -> str:
    name = _experiment_name(task)
    found = store.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    local = store_uri().startswith("sqlite:///")
    # A server knows its own artifact store; the local one would otherwise put files where the process happens to stand.
    location = (project_root() / "mlartifacts" / task.name).as_uri() if local else None
    try:
        return store.create_experiment(name, artifact_location=location)
    except MlflowException:
        found = store.get_experiment_by_name(name)  # another process was faster
        if found is None:
            raise
        return found.experiment_id


def _metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, step) for name, value in values.items()]


def _warn(error: Exception) -> None:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    print(f"unroll: MLflow at {_without_credentials(store_uri())}: {reason}; going on without it", file=sys.stderr)


def _without_credentials(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


if __name__ == "__main__":
    # For shells: `mlflow ui --backend-store-uri "$(python -m stages.tracking)"`
    print(store_uri())

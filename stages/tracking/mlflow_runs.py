"""Runs in MLflow: found by the signature of their training, and made anew where the store has none.

    python -m stages.tracking.mlflow_runs SPOOL     send a spool while its training goes on; `tracking` starts it

No DVC output ever holds a run id.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from filelock import FileLock

# Read by MLflow when it is imported: no bars and addresses in logs, no minutes of waiting for a server that is away.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from ..data.files import read_json
from ..training import learning_curve
from . import spool, training_run
from .delivery import Delivery, Point, StoreError
from .store import database_file, make_private, store_name, store_uri, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ..params import TaskParams
    from ..tasks.protocol import Task

SIGNATURE_TAG = "unroll.signature"
TASK_TAG = "unroll.task"
ATTEMPTS_TAG = "unroll.attempts"  # of the training, the oldest first, with a space between

_EXPERIMENT = "unroll/"  # then the task
_SEND_SECONDS = 5.0  # between two looks at the spool
_LONGEST_PAUSE = 30.0  # while the store is away
_AWAY_TIMEOUT = "2"  # seconds for an answer, at the end of a training whose store was away before
_LATER = frozenset({408, 429})  # answers of a server that is busy, not of one that refuses


def open_client() -> MlflowClient:
    """A client of the store, which is made where it is missing: one process at a time, or migrations would collide.

    Raises ValueError where the store lies in a folder that MLflow could write to and not read from.
    """
    uri = store_uri()
    mlflow.set_tracking_uri(uri)
    if database := database_file(uri):
        if re.search("%[0-9A-Fa-f]{2}", str(database)):  # MLflow decodes paths as if they were addresses
            found = f"found {database}, in which MLflow decodes % and two hexadecimal digits"
            raise ValueError(f"{found}; allowed: another name, or a server in MLFLOW_TRACKING_URI")
        with FileLock(f"{database}.lock"):
            make_private(uri)
            made = mlflow.MlflowClient(uri)
            made.search_experiments(max_results=1)
            return made
    return mlflow.MlflowClient(uri)


def find_run(client: MlflowClient, task: Task, signature: str) -> Run | None:
    """The newest run of this training, or None."""
    found = _find_runs(client, task.name, signature)
    return found[0] if found else None


def log_evaluation(client: MlflowClient, run_id: str, task: Task) -> None:
    """Log the learning curve, and the evaluate stage's metrics, pictures and card, to the training's run."""
    paths = task.paths
    has = client.get_run(run_id).data.metrics
    now = int(time.time() * 1000)
    numbers = {f"test_{k}": float(v) for k, v in read_json(paths.metrics).items() if isinstance(v, (int, float))}
    # After a registration that was cut short, what it had logged is not logged again.
    new = [Metric(name, value, now, 0) for name, value in numbers.items() if has.get(name) != value]
    client.log_batch(run_id, metrics=new)
    client.log_artifacts(run_id, str(paths.evaluation), "evaluation")
    client.log_artifact(run_id, str(paths.learning_curve))
    client.log_artifact(run_id, str(paths.card))


def ensure_run(client: MlflowClient, task: Task, params: TaskParams, signature: str) -> str:
    """The id of the training's run; a result that came from a cache gets a new one, with its learning curve."""
    found = find_run(client, task, signature)
    if found is None:
        # By way of a spool as well: whatever is cut short here, the run ends up whole.
        waiting, _ = spool.starts(spool.folder())
        if not any((s.signature, s.store) == (signature, store_name()) for s in waiting.values()):
            training_run.record_finished(task, params, signature, learning_curve.read(task.paths.learning_curve))
        deliver()
        found = find_run(client, task, signature)
    if found is None:
        raise RuntimeError(f"MLflow has no run of the training {signature}, and none could be made")
    return found.info.run_id


class MlflowStore:
    """MLflow as `delivery` wants to see it. The client is made on first use, since the store may be away."""

    def __init__(self, answered: Callable[[], None] = lambda: None) -> None:
        self._answered = answered  # called after each request that worked

    @contextmanager
    def _request(self) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            status = error.get_http_status_code()
            raise StoreError(_first_line(error), refused=400 <= status < 500 and status not in _LATER) from error
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(_first_line(error)) from error
        self._answered()

    @cached_property
    def _client(self) -> MlflowClient:
        return open_client()

    def find(self, start: spool.Start) -> dict[str, tuple[str, ...]]:
        with self._request():
            runs = _find_runs(self._client, start.task, start.signature)
        return {run.info.run_id: tuple(run.data.tags.get(ATTEMPTS_TAG, "").split()) for run in runs}

    def create(self, start: spool.Start) -> str:
        tags = {
            "mlflow.runName": f"{start.task}-{start.signature[:8]}",
            TASK_TAG: start.task,
            SIGNATURE_TAG: start.signature,
            ATTEMPTS_TAG: start.attempt,
            **start.tags,
        }
        with self._request():
            experiment = experiment_id(self._client, start.task)
            return self._client.create_run(experiment, start_time=start.time, tags=tags).info.run_id

    def go_on(self, run_id: str, start: spool.Start, attempts: Sequence[str]) -> None:
        first = attempts[0] == start.attempt
        params = [Param(name, value) for name, value in start.params.items()] if first else []
        with self._request():
            self._client.log_batch(run_id, params=params, tags=[RunTag(ATTEMPTS_TAG, " ".join(attempts))])
            if first:
                # The digest is DVC's md5, so that "which models came from this data" is one search of MLflow.
                source = json.dumps({"path": start.data_path})
                data = Dataset(name=start.task, digest=start.data, source_type="dvc", source=source)
                self._client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
            self._client.update_run(run_id, status="RUNNING")

    def history(self, run_id: str) -> dict[str, dict[int, float]]:
        with self._request():
            names = self._client.get_run(run_id).data.metrics
            histories = {name: self._client.get_metric_history(run_id, name) for name in names}
        return {name: {point.step: point.value for point in points} for name, points in histories.items()}

    def log(self, run_id: str, points: Sequence[Point]) -> None:
        with self._request():
            self._client.log_batch(run_id, metrics=[Metric(*point) for point in points])

    def end(self, run_id: str, start: spool.Start, status: str, time: int) -> None:
        with self._request():
            self._client.set_terminated(run_id, status, time)
            if start.difference:  # last: a server's store of files may be away when the server itself is not
                self._client.log_text(run_id, start.difference, "uncommitted.diff")

    def delete(self, run_id: str) -> None:
        with self._request():
            self._client.delete_run(run_id)  # MLflow keeps it among the deleted ones


def deliver() -> None:
    """Send what trainings that are over have left in their spools. Where that fails, one line says so."""
    folder = spool.folder()
    if not spool.pending(folder):
        return
    try:
        with _no_retries():
            _delivery(folder).run()
    except StoreError as error:
        _warn(error)


def waiting_for_another_store() -> int:
    """How many trainings have spools for a store other than this one."""
    name = store_name()
    readable, _ = spool.starts(spool.folder())
    return sum(start.store != name for start in readable.values())


def _delivery(folder: Path, answered: Callable[[], None] = lambda: None) -> Delivery:
    return Delivery(MlflowStore(answered), store_name(), folder)


@contextmanager
def _no_retries() -> Iterator[None]:
    """Without MLflow's own retries, which would make a second run after the answer to the first one was lost."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    configured = os.environ[name]
    os.environ[name] = "0"
    try:
        yield
    finally:
        os.environ[name] = configured


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _find_runs(client: MlflowClient, task: str, signature: str) -> list[Run]:
    """The runs of a training, the newest first."""
    experiment = client.get_experiment_by_name(_EXPERIMENT + task)
    if experiment is None:
        return []
    condition = f"tags.`{SIGNATURE_TAG}` = '{signature}'"
    return list(client.search_runs([experiment.experiment_id], condition, order_by=["attributes.start_time DESC"]))


def experiment_id(client: MlflowClient, task: str) -> str:
    """The experiment of a task's runs, which is made where it is missing."""
    name = _EXPERIMENT + task
    found = client.get_experiment_by_name(name)
    if found is None:
        uri, location = store_uri(), None
        # A server knows its own artifact store; of a local one, the files would land in the present folder.
        if database := database_file(uri):
            location = (database.absolute().parent / "mlartifacts" / task).as_uri()
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    return found.experiment_id


def _warn(error: StoreError) -> None:
    address, reason = without_credentials(store_uri()), without_credentials(str(error))
    print(f"unroll: MLflow at {address}: {reason}; unsent records are kept and sent later", file=sys.stderr)


def _send(own: Path) -> None:
    """Deliver a spool while its training goes on, and once more at its end; the other spools too.

    The training has ended when standard input can be read. Standard output gets b"+" when the store begins to answer
    and b"-" when it no longer does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training; we see it end
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody else's text among the reports
    reported = b""

    def report(state: bytes) -> None:
        nonlocal reported
        if state != reported:
            reported = state
            with suppress(BrokenPipeError):  # the training was killed
                os.write(output, state)

    delivery = _delivery(own.parent, answered=lambda: report(b"+"))
    pause, over, warned = 0.0, False, False
    with _no_retries():
        while not over:
            over = bool(select.select([sys.stdin], [], [], pause)[0])
            if over and reported == b"-":
                os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = _AWAY_TIMEOUT
            try:
                delivery.run(own=own, own_ended=over)
            except StoreError as error:
                if not warned:
                    _warn(error)
                warned, pause = True, min(_LONGEST_PAUSE, max(_SEND_SECONDS, 2 * pause))
                report(b"-")
            else:
                pause = _SEND_SECONDS


def end_process() -> NoReturn:
    """End this process at once: Python takes a second to take down what MLflow has imported, and somebody waits."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    _send(Path(sys.argv[1]))
    end_process()

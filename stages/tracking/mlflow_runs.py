"""Runs in MLflow: found by the signature of their training, and made anew where the store has none.

    python -m stages.tracking.mlflow_runs SPOOL     send a spool while its training goes on; `tracking` starts it

No DVC output ever holds a run id.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

# Read by MLflow when it is imported: no telemetry, no bars and addresses in logs, no minutes of waiting for a server
# that is away.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
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
from .delivery import Delivery, Found, Point, StoreError
from .store import store_error, store_name, store_uri, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ..params import TaskParams
    from ..tasks.protocol import Task

SIGNATURE_TAG = "unroll.signature"
TASK_TAG = "unroll.task"
ATTEMPTS_TAG = "unroll.attempts"  # of the training, the oldest first, with a space between

_SEND_SECONDS = 5.0  # between two looks at the spool
_LONGEST_PAUSE = 30.0  # while the store is away
_AWAY_TIMEOUT = "2"  # seconds for an answer, at the end of a training whose store was away before
_SQLITE = "sqlite:///"
_LATER = frozenset({408, 429})  # answers of a server that is busy, not of one that refuses


def open_client() -> MlflowClient:
    """A client of the store, which is made where it is missing: one process at a time, or migrations would collide."""
    uri = store_uri()
    mlflow.set_tracking_uri(uri)
    if uri.startswith(_SQLITE):
        with FileLock(f"{uri.removeprefix(_SQLITE)}.lock"):
            made = mlflow.MlflowClient(uri)
            made.search_experiments(max_results=1)
            return made
    return mlflow.MlflowClient(uri)


@contextmanager
def store_in_words() -> Iterator[None]:
    """Inside the block, what the store cannot do becomes a RuntimeError of one line, without credentials."""
    try:
        yield
    except Exception as error:
        words = store_error(error)
        if words is None:
            raise
        raise RuntimeError(words) from error


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
            training_run.tell_finished(task, params, signature, learning_curve.read(task.paths.learning_curve))
        deliver()
        found = find_run(client, task, signature)
    if found is None:
        raise RuntimeError(f"MLflow has no run of the training {signature}, and none could be made")
    return found.info.run_id


class MlflowStore:
    """MLflow as `delivery` wants to see it. The client is made on first use, since the store may be away."""

    def __init__(self, make_client: Callable[[], MlflowClient], answered: Callable[[], None] = lambda: None) -> None:
        self._make_client = make_client
        self._answered = answered  # called after each request that worked

    @contextmanager
    def _request(self) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            status = error.get_http_status_code()
            raise StoreError(_reason(error), refused=400 <= status < 500 and status not in _LATER) from error
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(_reason(error)) from error
        self._answered()

    @cached_property
    def _client(self) -> MlflowClient:
        return self._make_client()

    def find(self, start: spool.Start) -> list[Found]:
        """The runs of this signature, the newest first."""
        with self._request():
            runs = _find_runs(self._client, start.task, start.signature)
            return [
                Found(run_id=run.info.run_id, attempts=tuple(run.data.tags.get(ATTEMPTS_TAG, "").split()))
                for run in runs
            ]

    def create(self, start: spool.Start) -> str:
        """A new run, whose tags stand from the first moment on; returns its id."""
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

    def describe(self, run_id: str, start: spool.Start) -> None:
        """Say which params and data a run stands on; a second time changes nothing."""
        params = [Param(name, value) for name, value in start.params.items()]
        # The digest is DVC's md5, so that "which models came from this data" is one search of MLflow.
        source = json.dumps({"path": start.data_path})
        data = Dataset(name=start.task, digest=start.data, source_type="dvc", source=source)
        with self._request():
            self._client.log_batch(run_id, params=params)
            self._client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])

    def go_on(self, run_id: str, attempts: Sequence[str]) -> None:
        """Note a run's attempts and that it goes on."""
        with self._request():
            self._client.log_batch(run_id, tags=[RunTag(ATTEMPTS_TAG, " ".join(attempts))])
            self._client.update_run(run_id, status="RUNNING")

    def history(self, run_id: str) -> Mapping[str, Mapping[int, float]]:
        """The values of each metric by step."""
        with self._request():
            names = self._client.get_run(run_id).data.metrics
            histories = {name: self._client.get_metric_history(run_id, name) for name in names}
        return {name: {point.step: point.value for point in points} for name, points in histories.items()}

    def log(self, run_id: str, points: Sequence[Point]) -> None:
        """Add points to a run's history."""
        with self._request():
            self._client.log_batch(run_id, metrics=[Metric(p.name, p.value, p.time, p.step) for p in points])

    def end(self, run_id: str, status: str, time: int) -> None:
        """Close a run."""
        with self._request():
            self._client.set_terminated(run_id, status, time)

    def attach(self, run_id: str, start: spool.Start) -> None:
        """Keep the uncommitted changes with a run; a second time changes nothing."""
        with self._request():
            self._client.log_text(run_id, start.difference, "uncommitted.diff")

    def delete(self, run_id: str) -> None:
        """Take a run away; MLflow keeps it among the deleted ones."""
        with self._request():
            self._client.delete_run(run_id)


def deliver() -> None:
    """Send what trainings that are over have left in their spools. Where that fails, one line says so."""
    folder = spool.folder()
    if not spool.pending(folder):
        return
    try:
        with _one_try():
            _delivery(folder).run()
    except StoreError as error:
        _warn(error)


def waiting_for_another_store() -> int:
    """How many trainings have spools for a store other than this one."""
    name = store_name()
    readable, _ = spool.starts(spool.folder())
    return sum(start.store != name for start in readable.values())


def send(own: Path, ended: Callable[[float], bool], report: Callable[[bytes], None]) -> None:
    """Deliver a spool while its training goes on, and once more at its end; the other spools too.

    `ended(seconds)` waits so long at most and says whether the training is over. `report` gets b"+" when the store
    begins to answer and b"-" when it no longer does.
    """
    reported = b""

    def tell(word: bytes) -> None:
        nonlocal reported
        if word != reported:
            reported = word
            report(word)

    delivery = _delivery(own.parent, answered=lambda: tell(b"+"))
    pause, over, warned = 0.0, False, False
    with _one_try():
        while not over:
            over = ended(pause)
            if over and reported == b"-":
                os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = _AWAY_TIMEOUT
            try:
                delivery.run(own=own, own_ended=over)
            except StoreError as error:
                if not warned:
                    _warn(error)
                warned, pause = True, min(_LONGEST_PAUSE, max(_SEND_SECONDS, 2 * pause))
                tell(b"-")
            else:
                pause = _SEND_SECONDS


def _delivery(folder: Path, answered: Callable[[], None] = lambda: None) -> Delivery:
    return Delivery(MlflowStore(open_client, answered), store_name(), folder)


@contextmanager
def _one_try() -> Iterator[None]:
    """Without MLflow's own retries, which would make a second run after the answer to the first one was lost."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ[name]
    os.environ[name] = "0"
    try:
        yield
    finally:
        os.environ[name] = before


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _find_runs(client: MlflowClient, task: str, signature: str) -> list[Run]:
    """The runs of a training, the newest first."""
    experiment = client.get_experiment_by_name(_experiment_name(task))
    if experiment is None:
        return []
    condition = f"tags.`{SIGNATURE_TAG}` = '{signature}'"
    return list(client.search_runs([experiment.experiment_id], condition, order_by=["attributes.start_time DESC"]))


def _experiment_name(task: str) -> str:
    return f"unroll/{task}"


def experiment_id(client: MlflowClient, task: str) -> str:
    """The experiment of a task's runs, which is made where it is missing."""
    name = _experiment_name(task)
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    uri = store_uri()
    # A server knows its own artifact store; the local one would otherwise put files where the process happens to stand.
    database = Path(uri.removeprefix(_SQLITE)).absolute()
    location = (database.parent / "mlartifacts" / task).as_uri() if uri.startswith(_SQLITE) else None
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        found = client.get_experiment_by_name(name)  # another process was faster
        if found is None:
            raise
        return found.experiment_id


def _warn(error: StoreError) -> None:
    uri = store_uri()
    reason = without_credentials(str(error))
    print(
        f"unroll: MLflow at {without_credentials(uri)}: {reason}; what it should have is kept and sent later",
        file=sys.stderr,
    )


def _main(own: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training; we see it end
    reports = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody else's words among the reports

    def ended(seconds: float) -> bool:
        return bool(select.select([sys.stdin], [], [], seconds)[0])

    def report(word: bytes) -> None:
        with suppress(BrokenPipeError):  # the training was killed
            os.write(reports, word)

    send(own, ended, report)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

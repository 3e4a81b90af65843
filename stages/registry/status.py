"""The status of each task's model: the version that this checkout's outputs became, and the champion.

    python -m stages.registry.status     wait for a line on standard input, then do what `python -m stages.registry
                                         sync` does, and print one JSON document (`RegistryStatus`)

To import MLflow and open its store takes seconds, so a flow starts this process first and needs its answer last. It
ends when its standard input does.
"""

from __future__ import annotations

import io
import os
import threading
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from pydantic import BaseModel

from ..command import one_line_errors
from ..provenance.hashes import parse_signature
from ..tasks.protocol import Task
from ..tracking.store import found_or_none, store_errors
from .champion import with_alias
from .decision import CHAMPION, Decision, facts, metric_of, read_verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_SAME_DATA = ("data", "split", "n")  # what two signatures share whose metrics may be compared; the seed is training's
_TEST = "test_"  # what `mlflow_runs.log_evaluation` puts before the name of a metric


class Version(BaseModel):
    """A registered version and what its run has measured. Where the run is gone, `run_id` is empty."""

    version: str
    decision: Decision | None  # None: never judged
    reason: str  # for the decision, a text for people
    signature: str  # how the metrics were measured: data, split, n, seed, versions
    run_id: str
    experiment_id: str
    metric: str = ""  # that it is judged by; empty where older code has made it
    metrics: dict[str, float]  # of the test split, under the names of metrics/TASK.json

    @property
    def verdict(self) -> str:
        """What was decided about it, for people."""
        return f"{self.decision}: {self.reason}" if self.decision else "never judged"


class SideBySide(BaseModel):
    """A version that may become champion, and the one that is."""

    model: str
    candidate: Version
    champion: Version | None
    commit: str
    dirty: bool  # the commit had uncommitted changes


def same_data(one: str, other: str) -> bool:
    """Whether two signatures are of the same examples of the same data."""
    first, second = parse_signature(one), parse_signature(other)
    return all(first.get(key) == second.get(key) for key in _SAME_DATA) and bool(first)


class ModelStatus(BaseModel):
    """A registered model as this checkout sees it."""

    name: str
    has_receipt: bool  # the checkout's outputs are to be registered
    here: Version | None  # the version of just these outputs
    champion: Version | None


class RegistryStatus(BaseModel):
    """All models, the notes of `sync`, and why it could not finish where it could not."""

    notes: list[str]
    fault: str
    models: dict[str, ModelStatus]  # by task


def model_status(client: MlflowClient, task: Task) -> ModelStatus:
    """The status of a task's model."""
    from .versions import registered

    name = task.description().model_name
    here, champion = registered(client, task), with_alias(client, name, CHAMPION)
    return ModelStatus(
        name=name,
        has_receipt=task.paths.receipt.is_file(),
        here=describe(client, here) if here else None,
        champion=describe(client, champion) if champion else None,
    )


def describe(client: MlflowClient, version: ModelVersion) -> Version:
    """A version, given with its aliases, and the metrics of its run."""
    run = found_or_none(lambda: client.get_run(str(version.run_id)))
    if run and run.info.lifecycle_stage != "active":
        run = None
    metrics = run.data.metrics if run else {}
    verdict = read_verdict(version)
    return Version(
        version=str(version.version),
        decision=verdict.decision if verdict else None,
        reason=verdict.reason if verdict else "",
        signature=facts(version).get("unroll.metrics_signature", ""),
        run_id=run.info.run_id if run else "",
        experiment_id=run.info.experiment_id if run else "",
        metric=metric_of(version),
        metrics={name.removeprefix(_TEST): value for name, value in metrics.items() if name.startswith(_TEST)},
    )


def _registry_status() -> RegistryStatus:
    from ..tracking import mlflow_runs
    from . import versions

    printed, fault = io.StringIO(), ""
    try:
        with redirect_stdout(printed), store_errors():
            versions.sync()
    except (ValueError, OSError, RuntimeError) as error:  # another run may be replacing these very outputs
        fault = str(error)
    client = mlflow_runs.open_client()
    models = {name: model_status(client, Task(name)) for name in Task.names()}
    return RegistryStatus(notes=printed.getvalue().splitlines(), fault=fault, models=models)


def _wait_for_line(arrived: threading.Event) -> None:
    # Not through sys.stdin, whose lock a waiting thread would hold when the interpreter ends.
    while os.read(0, 4096):
        arrived.set()
    os._exit(1)  # nobody waits for an answer


def main() -> None:
    """The command line."""
    line = threading.Event()
    threading.Thread(target=_wait_for_line, args=(line,), daemon=True).start()
    # Whoever waits for the answer would rather hear soon that the store is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with one_line_errors("unroll"):
        from ..tracking import mlflow_runs

        mlflow_runs.open_client()  # opens a local store, which takes a second
        line.wait()
        print(_registry_status().model_dump_json())
        mlflow_runs.end_process()


if __name__ == "__main__":
    main()

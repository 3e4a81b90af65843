"""What the registry says of each task's model: the version that this checkout's outputs became, and the champion.

    python -m stages.registry.status     wait for a line on standard input, then do what `python -m stages.registry
                                         sync` does, and print one JSON document (`Standings`)

To import MLflow and open its store takes seconds, so a flow starts this process first and asks it last. It ends when
its standard input does.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from pydantic import BaseModel

from ..tasks.protocol import Task
from .aliases import CHAMPION, VERDICT, with_alias

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_TEST = "test_"  # what `runs.log_evaluation` puts before the name of a metric


class Version(BaseModel):
    """A registered version and what its run has measured. Where the run is gone, `run_id` is empty."""

    version: str
    verdict: str
    signature: str  # how the metrics were measured: data, split, n, seed, versions
    run_id: str
    experiment_id: str
    metrics: dict[str, float]  # of the test split, under the names of metrics/TASK.json


class Model(BaseModel):
    """A registered model as this checkout sees it."""

    name: str
    has_receipt: bool  # the checkout's outputs are to be registered
    here: Version | None  # the version of just these outputs
    champion: Version | None


class Standings(BaseModel):
    """All models, what `sync` had to say, and why it could not finish where it could not."""

    notes: list[str]
    fault: str
    models: dict[str, Model]  # by task


def standings(client: MlflowClient) -> dict[str, Model]:
    """Each task's model, by task."""
    from ..data.files import read_json
    from .versions import content_hash, find_version

    found = {}
    for task in map(Task, Task.names()):
        name, receipt = task.description().model_name, task.paths.receipt
        here = find_version(client, name, content_hash(read_json(receipt))) if receipt.is_file() else None
        champion = with_alias(client, name, CHAMPION)
        found[task.name] = Model(
            name=name,
            has_receipt=receipt.is_file(),
            here=describe(client, here) if here else None,
            champion=describe(client, champion) if champion else None,
        )
    return found


def describe(client: MlflowClient, version: ModelVersion) -> Version:
    """A version with the metrics of its run."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(str(version.run_id))
        kept = run.info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        kept = False
    measured = {n.removeprefix(_TEST): v for n, v in run.data.metrics.items() if n.startswith(_TEST)} if kept else {}
    return Version(
        version=str(version.version),
        verdict=version.tags.get(VERDICT, ""),
        signature=version.tags.get("unroll.metrics_signature", ""),
        run_id=run.info.run_id if kept else "",
        experiment_id=run.info.experiment_id if kept else "",
        metrics=measured,
    )


def _look() -> Standings:
    from ..tracking import mlflow_runs
    from . import versions

    said, fault = io.StringIO(), ""
    try:
        with redirect_stdout(said):
            versions.sync()
    except (ValueError, OSError, RuntimeError) as error:  # another run may be replacing these very outputs
        fault = str(error)
    return Standings(notes=said.getvalue().splitlines(), fault=fault, models=standings(mlflow_runs.open_client()))


def _wait(asked: threading.Event) -> None:
    # Not through sys.stdin, whose lock a waiting thread would hold when the interpreter ends.
    while os.read(0, 4096):
        asked.set()
    os._exit(1)  # nobody waits for an answer


def main() -> None:
    """The command line."""
    asked = threading.Event()
    threading.Thread(target=_wait, args=(asked,), daemon=True).start()
    # Whoever asks would rather hear soon that the store is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from ..tracking import mlflow_runs

    try:
        with mlflow_runs.store_in_words():
            mlflow_runs.open_client()  # opens a local store, which takes a second
            asked.wait()
            found = _look()
    except (RuntimeError, OSError, ValueError) as error:
        sys.exit(f"unroll: {error}")
    print(found.model_dump_json())


if __name__ == "__main__":
    main()

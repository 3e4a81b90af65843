"""The MLflow registry: a version for each new model, `challenger` and `champion`, and the check that all are there.

python -m stages.registry sync      register what the receipts name and the store lacks, then show the table
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import runs, tracking
from .command import store_error
from .json_files import read_json
from .packaging import requirements, serving_code, signature, write_code
from .paths import Paths
from .reporting import best_baseline
from .signature import content_md5, file_md5

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from .params import TaskParams
    from .tasks import Task

CONTENT_TAG = "unroll.content"
VERDICT_TAG = "unroll.verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A model version and why it is or is not the champion."""

    version: str
    verdict: str


def receipt(task: Task) -> dict[str, Any]:
    """What is handed to the registry, as hashes: the same content gives the same receipt on any machine."""
    paths = Paths(task.name)
    return {
        "model": task.description().model_name,
        "weights": content_md5(paths.weights),
        "code": serving_code(task),
        "metrics": file_md5(paths.metrics),
        "training": read_json(paths.network)["training"]["signature"],
    }


def register(task: Task, params: TaskParams, content: dict[str, Any]) -> Registered:
    """Make a version of what the receipt names, unless there is one, and set its aliases."""
    runs.deliver()
    store = runs.client()
    name = task.description().model_name
    found = find_version(store, name, content_hash(content))
    if found is None:
        found = _create_version(store, task, params, name, content)
        verdict = _judge(store, task, params, found)
        store.set_model_version_tag(name, found.version, VERDICT_TAG, verdict)
    else:
        verdict = found.tags.get(VERDICT_TAG, "registered before, never judged")
    return Registered(version=str(found.version), verdict=verdict)


def find_version(store: MlflowClient, name: str, content: str) -> ModelVersion | None:
    """The version of a model that has this content, or None."""
    found = store.search_model_versions(f"name = '{name}' and tags.`{CONTENT_TAG}` = '{content}'", max_results=1)
    return found[0] if found else None


def _create_version(
    store: MlflowClient, task: Task, params: TaskParams, name: str, content: dict[str, Any]
) -> ModelVersion:
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    paths = Paths(task.name)
    training = read_json(paths.network)["training"]
    run_id = runs.ensure_run(store, task, params, training["signature"])
    runs.log_evaluation(store, run_id, task)
    # A logged model belongs to the run's experiment, or it would land in the default one, below the present folder.
    mlflow.set_experiment(experiment_id=store.get_run(run_id).info.experiment_id)
    predictor = task.predictor()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The signature is given in full, so that MLflow need not infer one from type hints or an example.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.pyfunc")
        package, script = write_code(task, Path(folder))
        sys.path.insert(0, folder)  # MLflow runs the script while it logs the model
        try:
            logged = Model.log(
                artifact_path=None,
                name=name,
                flavor=mlflow.pyfunc,
                run_id=run_id,
                python_model=str(script),
                code_paths=[str(package)],
                artifacts={"weights": str(paths.weights.resolve())},
                pip_requirements=requirements(predictor),
                signature=signature(predictor),
            )
        finally:
            sys.path.remove(folder)
    try:
        store.create_registered_model(name, description=_described(task))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    facts, _ = tracking.lineage(task)
    metrics = read_json(paths.metrics)
    tags = {
        CONTENT_TAG: content_hash(content),
        **facts,
        **{f"unroll.receipt.{key}": str(v) for key, v in content.items()},
    }
    tags["unroll.metrics_signature"] = str(metrics["signature"])
    return store.create_model_version(name, logged.model_uri, run_id, tags=tags, model_id=logged.model_id)


def _described(task: Task) -> str:
    predictor = task.predictor()
    columns = [", ".join(f"`{name}`" for name in names) for names in (predictor.inputs, predictor.outputs)]
    return f"{task.description().summary} A DataFrame with {columns[0]} in, one with {columns[1]} out."


def _judge(store: MlflowClient, task: Task, params: TaskParams, version: ModelVersion) -> str:
    """Make the version `challenger`, and `champion` if it beats every baseline; returns why."""
    description = task.description()
    name = description.model_name
    metrics = read_json(Paths(task.name).metrics)
    value = metrics[description.metric]
    best = best_baseline(metrics, description.metric, higher_is_better=description.higher_is_better)
    store.set_registered_model_alias(name, "challenger", version.version)
    if best is None:
        return "challenger: no baseline was measured"
    compared = f"{description.metric} {value:.4g} against {best[1]:.4g} of the {best[0]} baseline"
    if not (value > best[1] if description.higher_is_better else value < best[1]):
        return f"challenger: does not beat its baselines ({compared})"
    if (mode := read_json(Paths(task.name).network)["training"]["mode"]) != "full":
        return f"challenger: trained with train.mode {mode}, which gives no model ({compared})"
    if params.register_.promotion == "approval":
        return f"challenger: waits for approval ({compared})"
    store.set_registered_model_alias(name, "champion", version.version)
    return f"champion: {compared}"


def content_hash(value: dict[str, Any]) -> str:
    """The hash of a receipt, which a version carries as a tag."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sync() -> None:
    """Register every model whose receipt the store does not know, from the outputs at hand, without training."""
    from .params import load
    from .tasks import Task

    runs.deliver()
    if waiting := runs.waiting_for_another_store():
        print(f"{waiting} trainings wait to be sent to another store than this one (MLFLOW_TRACKING_URI)")
    store = runs.client()
    for name, params in load().items():
        task, path = Task(name), Paths(name).receipt
        if not path.is_file():
            print(f"{name}: no receipt yet; run `dvc repro register@{name}`")
            continue
        content = read_json(path)
        if find_version(store, content["model"], content_hash(content)) is not None:
            continue
        if receipt(task) != content:
            print(f"{name}: the outputs have changed since {path} was written; run `dvc repro register@{name}`")
            continue
        registered = register(task, params, content)
        print(f"{content['model']} version {registered.version}: {registered.verdict}")


if __name__ == "__main__":
    import argparse

    from .table import show

    parser = argparse.ArgumentParser(prog="python -m stages.registry", description=__doc__)
    parser.add_argument("command", choices=["sync"])
    parser.parse_args()
    try:
        sync()
        show()
    except Exception as error:
        of_store = store_error(error)
        if not of_store and not isinstance(error, (ValueError, OSError, RuntimeError)):
            raise
        sys.exit(f"unroll: registry: {of_store or error}")

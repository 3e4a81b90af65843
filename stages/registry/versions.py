"""Versions in the MLflow registry: one for each new content of a model, with all that says where it came from."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..data.files import read_json
from ..evaluation.report import with_interval
from ..provenance.hashes import content_md5, file_md5, locked_stages
from ..tracking import mlflow_runs, training_run
from ..tracking.store import without_credentials
from . import gate, latency
from .aliases import CHALLENGER, VERDICT, Answering, PromotionError, ask, example_rows, held
from .packaging import code_digest, requirements, serving_code, signature, write_code

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..params import TaskParams
    from ..tasks.protocol import Task

CONTENT, RECEIPT, LOCKED = "unroll.content", "unroll.receipt.", "unroll.lock."
PACKAGE, PATCH, COMMIT, DIRTY = "unroll.package", "unroll.patch", "unroll.git_commit", "unroll.git_dirty"
SIGNATURE, METRIC = "unroll.metrics_signature", "unroll.metric."
COLLECTED = "unroll.collected."  # tag of a model, by content: what the gate said of a version that `gc` has removed

# In a version's folder among the artifacts of its run.
CARD_FILE = "MODEL_CARD.md"
PATCH_FILE, LOCK_FILE, ENVIRONMENT_FILE, METRICS_FILE = (
    "uncommitted.diff",
    "dvc.lock",
    "environment.txt",
    "metrics.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A model version and why it is or is not the champion."""

    version: str
    verdict: str


def receipt(task: Task) -> dict[str, Any]:
    """What is handed to the registry, as hashes: the same content gives the same receipt on any machine."""
    paths = task.paths
    return {
        "model": task.description().model_name,
        "weights": content_md5(paths.weights),
        "code": serving_code(task),
        "metrics": file_md5(paths.metrics),
        "training": read_json(paths.network)["training"]["signature"],
    }


def register(task: Task, params: TaskParams, content: dict[str, Any]) -> Registered:
    """Make a version of what the receipt names, unless there is one, and have it judged, unless it has been.

    Two that do so at once make one version, on one machine and on two. Raises RuntimeError where the store is away.
    """
    name, digest = task.description().model_name, content_hash(content)
    with mlflow_runs.store_in_words(), held(name):
        client = mlflow_runs.open_client()
        known = find_version(client, name, digest) is not None  # a store that is away is told of here, and once
        mlflow_runs.deliver()
        if not known:
            _create_version(client, task, params, content)
        found = settle(client, name, digest)
        verdict = found.tags.get(VERDICT)
        if verdict is None:
            verdict = _judge(client, task, params, found)
    return Registered(version=str(found.version), verdict=verdict)


def find_version(client: MlflowClient, name: str, content: str) -> ModelVersion | None:
    """The version of a model that has this content, or None. Of several, the first: the others will go (`settle`)."""
    return min(_of_content(client, name, content), key=lambda version: int(version.version), default=None)


def settle(client: MlflowClient, name: str, content: str) -> ModelVersion:
    """The one version of this content that stays; whatever else there is of it, and was never judged, goes.

    Whoever has made a version looks here again. Numbers rise as versions are made, so all that look agree on the
    lowest, and who made it needs to know of no other. What a maker that was killed has left goes the next time.
    """
    from mlflow.exceptions import MlflowException

    first, *others = sorted(_of_content(client, name, content), key=lambda version: int(version.version))
    for other in (version for version in others if VERDICT not in version.tags):
        try:
            remove(client, other)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # its maker was faster
                raise
    return first


def remove(client: MlflowClient, version: ModelVersion) -> None:
    """Delete a version, and its files where they can be deleted; its run stays."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    model_id = str(version.source).removeprefix("models:/")
    try:
        location = str(client.get_logged_model(model_id).artifact_location)
        # Files first: a version that was cut off here cannot be loaded, and goes the next time.
        get_artifact_repository(location).delete_artifacts()
        client.delete_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    client.delete_model_version(version.name, version.version)


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a model with their aliases, the newest first; none where there is no such model."""
    found: list[ModelVersion] = []
    token = None
    while token is None or token:
        page = client.search_model_versions(f"name = '{name}'", max_results=1000, page_token=token)
        found.extend(page)
        token = page.token or ""
    # Search gives versions without their aliases.
    numbers = sorted((str(version.version) for version in found), key=int, reverse=True)
    return [client.get_model_version(name, number) for number in numbers]


def _of_content(client: MlflowClient, name: str, content: str) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name = '{name}' and tags.`{CONTENT}` = '{content}'"))


def content_hash(value: dict[str, Any]) -> str:
    """The hash of a receipt, which a version carries as a tag."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def folder(content: str) -> str:
    """Where the run of a version keeps what belongs to the version: a run may have several, of different code."""
    return f"registered/{content[:12]}"


def _create_version(client: MlflowClient, task: Task, params: TaskParams, content: dict[str, Any]) -> None:
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    paths, name = task.paths, task.description().model_name
    training = read_json(paths.network)["training"]
    run_id = mlflow_runs.ensure_run(client, task, params, training["signature"])
    mlflow_runs.log_evaluation(client, run_id, task)
    # A logged model belongs to the run's experiment, or it would land in the default one, below the present folder.
    experiment = client.get_run(run_id).info.experiment_id
    mlflow.set_experiment(experiment_id=experiment)
    predictor = task.predictor()
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        # The signature is given in full, so that MLflow need not infer one from type hints or an example.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.pyfunc")
        package, script = write_code(task, Path(temporary))
        packaged = code_digest(package, script)
        sys.path.insert(0, temporary)  # MLflow runs the script while it logs the model
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
                signature=signature(predictor, predictor.extra_inputs(paths.weights), params.evaluate.model_dump()),
            )
        finally:
            sys.path.remove(temporary)
    try:
        client.create_registered_model(name, description=_described(task))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    metrics, metric = read_json(paths.metrics), task.description().metric
    digest = content_hash(content)
    where = folder(digest)
    tags = {
        CONTENT: digest,
        PACKAGE: packaged,
        SIGNATURE: str(metrics["signature"]),
        f"{METRIC}{metric}": str(metrics[metric]),
        **{f"{RECEIPT}{key}": str(value) for key, value in content.items()},
        **_log_origin(client, run_id, task, where),
    }
    page = f"#/experiments/{experiment}/runs/{run_id}/artifacts/{where}/{CARD_FILE}"  # of MLflow's own pages
    described = f"{metric} {with_interval(metrics, metric)} on the test split. [{CARD_FILE}]({page}) says the rest."
    client.create_model_version(
        name, logged.model_uri, run_id, tags=tags, model_id=logged.model_id, description=described
    )


def _log_origin(client: MlflowClient, run_id: str, task: Task, where: str) -> dict[str, str]:
    """Log what a version comes from, and what it reached, as files of its run; returns where from as tags.

    `dvc.lock` are the stages of the task as they stand now, with the hashes of data, code and weights and the params:
    the commit's own is older. The patch brings a clone of the commit to the code as it is now. The metrics that the run
    has are those of the newest evaluation; here stand the version's own.
    """
    facts, patch = training_run.lineage(task)
    # A task that learns from another's data may be measured with the network that the other has of them.
    names = {task.name, task.paths.dataset_task}
    stages = {name: stage for name, stage in locked_stages().items() if name.partition("@")[2] in names}
    for name in names:
        stages.pop(f"register@{name}", None)  # of an earlier registration
    lock = yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False)
    client.log_text(run_id, without_credentials(lock), f"{where}/{LOCK_FILE}")
    client.log_text(run_id, task.paths.metrics.read_text(encoding="utf-8"), f"{where}/{METRICS_FILE}")
    client.log_text(run_id, environment(), f"{where}/{ENVIRONMENT_FILE}")
    client.log_text(run_id, task.paths.card.read_text(encoding="utf-8"), f"{where}/{CARD_FILE}")
    if not patch:
        return facts
    patch = without_credentials(patch)
    client.log_text(run_id, patch, f"{where}/{PATCH_FILE}")
    return {**facts, PATCH: hashlib.sha256(patch.encode()).hexdigest()}


def environment() -> str:
    """Python, the platform and all that is installed, a line each."""
    installed = sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower)
    return "\n".join([f"# Python {platform.python_version()}, {platform.platform()}", *installed]) + "\n"


def _described(task: Task) -> str:
    predictor = task.predictor()
    columns = [", ".join(f"`{name}`" for name in names) for names in (predictor.inputs, predictor.outputs)]
    return f"{task.description().summary} A DataFrame with {columns[0]} in, one with {columns[1]} out."


def _judge(client: MlflowClient, task: Task, params: TaskParams, version: ModelVersion) -> str:
    """Make the version `challenger` and have the gate say whether it becomes `champion`; returns why.

    Raises PromotionError where the version does not answer: then it is not judged, and will be the next time.
    """
    name, number, content = version.name, str(version.version), version.tags[CONTENT]
    client.set_registered_model_alias(name, CHALLENGER, number)
    said = client.get_registered_model(name).tags.get(f"{COLLECTED}{content[:32]}")
    if said is not None:
        verdict = f"challenger: had been judged before its version was collected ({said})"
        client.set_model_version_tag(name, number, VERDICT, verdict)
        return verdict
    answering, run_id = ask(task, name, number), str(version.run_id)
    _log_latency(client, run_id, task, answering)
    return gate.judge(client, task, params, answering, run_id, f"{folder(content)}/{gate.FILE}")


def _log_latency(client: MlflowClient, run_id: str, task: Task, answering: Answering) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        rows = example_rows(task, answering.model, Path(temporary))
        measured = latency.measure(answering.model.predict, rows)
    for key, value in measured.items():
        client.log_metric(run_id, key, value)


def sync() -> None:
    """Register every model whose receipt the store does not know, from the outputs at hand, without training.

    Raises RuntimeError where the store is away.
    """
    with mlflow_runs.store_in_words():
        _sync()


def _sync() -> None:
    from ..params import load
    from ..tasks.protocol import Task

    client = mlflow_runs.open_client()
    mlflow_runs.deliver()
    if waiting := mlflow_runs.waiting_for_another_store():
        print(f"{waiting} trainings wait to be sent to another store than this one (MLFLOW_TRACKING_URI)")
    for name, params in load().items():
        task, path = Task(name), Task(name).paths.receipt
        if not path.is_file():
            print(f"{name}: no receipt yet; run `dvc repro register@{name}`")
            continue
        content = read_json(path)
        found = find_version(client, content["model"], content_hash(content))
        if found is not None and VERDICT in found.tags:
            continue
        if receipt(task) != content:
            print(f"{name}: the outputs have changed since {path} was written; run `dvc repro register@{name}`")
            continue
        try:
            registered = register(task, params, content)
        except (ValueError, PromotionError) as error:  # of this model; the others go on
            print(f"{name}: {error}")
        else:
            print(f"{content['model']} version {registered.version}: {registered.verdict}")

"""Versions in the MLflow registry: one for each new content of a model, with all that says where it came from.

Content is what decides answers: weights, serving code, the defaults of `predict`'s params. Other metrics of the same
content make no version.
"""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from contextlib import suppress
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..data.files import read_json
from ..evaluation.card import metrics_table
from ..evaluation.report import headline_metric, with_interval
from ..paths import MEASURED, NETWORK_NAME, network_folder
from ..progress_bar import busy
from ..provenance.hashes import content_md5, file_md5, locked_stages
from ..tracking import mlflow_runs, pages, training_run
from ..tracking.store import found_or_none, without_credentials
from . import gate, latency
from .champion import PromotionError, example_rows, load_and_try, model_lock
from .decision import (
    CHALLENGER,
    METRIC,
    Decision,
    Verdict,
    facts,
    is_judged,
    pack,
    read_verdict,
    verdict_text,
    write_verdict,
)
from .packaging import log_model, serving_code, serving_options

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..params import TaskParams
    from ..tasks.protocol import Task

CONTENT, RECEIPT, LOCKED = "unroll.content", "unroll.receipt.", "unroll.lock."
PACKAGE, PATCH, COMMIT, DIRTY = "unroll.package", "unroll.patch", "unroll.git_commit", "unroll.git_dirty"
SIGNATURE = "unroll.metrics_signature"
COLLECTED = "unroll.collected."  # tag of a model, by content: what the gate said of a version that `gc` has removed

_TABLE = 3500  # characters of a table in a description, which has room for 5,000
_MAX_TRIES = 100  # to remove the files of a version that others remove, too
_CONTENT = ("model", "weights", "code", "options")  # of a receipt, what decides answers

# In a version's folder among the artifacts of its run.
CARD_FILE, LOCK_FILE, METRICS_FILE = "MODEL_CARD.md", "dvc.lock", "metrics.json"
PATCH_FILE, ENVIRONMENT_FILE, PROFILE_FILE = "uncommitted.diff", "environment.txt", "profile.json"


def receipt(task: Task, params: TaskParams) -> dict[str, Any]:
    """What is handed to the registry, as hashes: the same content gives the same receipt on any machine."""
    paths = task.paths
    return {
        "model": task.description().model_name,
        "weights": content_md5(paths.weights),
        "code": serving_code(task),
        "options": json.dumps(serving_options(task, params), sort_keys=True),
        "metrics": file_md5(paths.metrics),
        "profile": file_md5(paths.profile),
        "training": read_json(network_folder(paths.weights, MEASURED) / NETWORK_NAME)["training"]["signature"],
    }


def register(task: Task, params: TaskParams, content: dict[str, Any]) -> ModelVersion:
    """Make a version of what the receipt names, unless there is one, and have it judged, unless it has been; one that
    waits for more examples is judged by those that there are now.

    Two that do so at once make one version, on one machine and on two.
    """
    name, digest = task.description().model_name, content_hash(content)
    with model_lock(name):
        client = mlflow_runs.open_client()
        known = find_version(client, name, digest)  # a store that is away is noticed here, and once
        mlflow_runs.deliver()
        if known is None:
            with busy(f"{name}: creating a version and storing its files"):
                _create_version(client, task, params, content)
        elif facts(known).get(f"{RECEIPT}metrics") != content["metrics"]:
            print(f"{name} version {known.version} already has these weights and this code; only its metrics are new")
        if known and facts(known).get(f"{RECEIPT}profile") != content["profile"]:
            _log_profile(client, task, str(known.run_id), folder(digest))  # of the same data, by newer code
        metric = headline_metric(read_json(task.paths.metrics), task.description())
        pages.show_first(client, mlflow_runs.experiment_id(client, task.name), metric)
        version = remove_duplicates(client, name, digest)
        verdict = read_verdict(version)
        if not is_judged(version) or (verdict and verdict.decision is Decision.CHALLENGER_FEW_EXAMPLES):
            _judge(client, task, params, version)
        return client.get_model_version(name, str(version.version))


def registered(client: MlflowClient, task: Task) -> ModelVersion | None:
    """The version that the outputs of this checkout became, or None."""
    if not task.paths.receipt.is_file():
        return None
    return find_version(client, task.description().model_name, content_hash(read_json(task.paths.receipt)))


def find_version(client: MlflowClient, name: str, content: str) -> ModelVersion | None:
    """The version of a model that has this content, or None. Of several, the first: `remove_duplicates`."""
    return next(iter(_of_content(client, name, content)), None)


def remove_duplicates(client: MlflowClient, name: str, content: str) -> ModelVersion:
    """The one version of this content that stays; whatever else there is of it, and was never judged, goes.

    Whoever has made a version looks here again. Numbers rise as versions are made, so all that look agree on the
    lowest, and who made it needs to know of no other. What a maker that was killed has left goes the next time.
    """
    first, *others = _of_content(client, name, content)
    for other in others:
        if not is_judged(other):
            found_or_none(partial(remove, client, other))  # its maker may be faster
    return first


def remove(client: MlflowClient, version: ModelVersion) -> None:
    """Delete a version, and its files where they can be deleted; its run stays."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    def remove_files() -> None:
        model_id = str(version.source).removeprefix("models:/")
        # Files first: a version that was cut off here cannot be loaded, and goes the next time.
        files = get_artifact_repository(str(client.get_logged_model(model_id).artifact_location))
        # In a folder, another process that removes the same version takes files from under this one, which then stops
        # in the middle. Each try leaves fewer files, so the last one finds nothing to remove.
        for _ in range(_MAX_TRIES):
            with suppress(FileNotFoundError):
                files.delete_artifacts()
                break
        else:
            raise OSError(
                f"the files of {version.name} version {version.version} were not removed in {_MAX_TRIES} tries"
            )
        client.delete_logged_model(model_id)

    found_or_none(remove_files)
    client.delete_model_version(version.name, version.version)


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a model with their aliases, the newest first; none where there is no such model."""
    return _search(client, f"name = '{name}'")[::-1]


def _of_content(client: MlflowClient, name: str, content: str) -> list[ModelVersion]:
    return _search(client, f"name = '{name}' and tags.`{CONTENT}` = '{content}'")


def _search(client: MlflowClient, condition: str) -> list[ModelVersion]:
    """Versions with their aliases, the oldest first."""
    found: list[ModelVersion] = []
    token = None
    while token is None or token:
        page = client.search_model_versions(condition, max_results=1000, page_token=token)
        found.extend(page)
        token = page.token or ""
    # Search gives versions without their aliases, and others may be removing some.
    numbers = sorted(((version.name, str(version.version)) for version in found), key=lambda named: int(named[1]))
    whole = [found_or_none(partial(client.get_model_version, *named)) for named in numbers]
    return [version for version in whole if version is not None]


def content_hash(value: dict[str, Any]) -> str:
    """The hash of what decides answers in a receipt, which a version carries as a tag. A receipt of older code, which
    names no options, counts as a whole.
    """
    deciding = {key: value[key] for key in _CONTENT} if "options" in value else value
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def folder(content: str) -> str:
    """Where the run of a version keeps what belongs to the version: a run may have several, of different code."""
    return f"registered/{content[:12]}"


def _create_version(client: MlflowClient, task: Task, params: TaskParams, content: dict[str, Any]) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    paths, name = task.paths, task.description().model_name
    run_id = mlflow_runs.ensure_run(client, task, params, read_json(paths.network)["training"]["signature"])
    mlflow_runs.log_evaluation(client, run_id, task)
    # A logged model belongs to the run's experiment, or it would land in the default one, below the present folder.
    experiment = client.get_run(run_id).info.experiment_id
    mlflow.set_experiment(experiment_id=experiment)
    logged, packaged = log_model(task, params, run_id)
    try:
        client.create_registered_model(name, description=_described(task))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    metrics = read_json(paths.metrics)
    metric = headline_metric(metrics, task.description())
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
    card = pages.run_page(experiment, run_id, artifact=f"{where}/{CARD_FILE}")
    described = (
        f"{metric} {with_interval(metrics, metric)} on the test split. See [{CARD_FILE}]({card}) for more.\n\n"
        f"{main_table(metrics, metric)}"
    )
    client.create_model_version(
        name,
        logged.model_uri,
        run_id,
        tags=pack(tags, shown=(CONTENT, f"{METRIC}{metric}", COMMIT)),
        model_id=logged.model_id,
        description=described,
    )


def _log_origin(client: MlflowClient, run_id: str, task: Task, where: str) -> dict[str, str]:
    """Log what a version comes from, and what it reached, as files of its run; returns where from as tags.

    `dvc.lock` are the stages of the task as they stand now, with the hashes of data, code and weights and the params:
    the commit's own is older. The patch brings a clone of the commit to the code as it is now. The metrics that the run
    has are those of the newest evaluation; here stand the version's own.
    """
    origin, patch = training_run.lineage(task)
    # A task that learns from another's data may be measured with the network that the other has of them.
    names = {task.name, task.paths.dataset_task}
    stages = {name: stage for name, stage in locked_stages().items() if name.partition("@")[2] in names}
    for name in names:
        stages.pop(f"register@{name}", None)  # of an earlier registration
    files = {
        LOCK_FILE: without_credentials(yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False)),
        METRICS_FILE: task.paths.metrics.read_text(encoding="utf-8"),
        ENVIRONMENT_FILE: environment(),
        CARD_FILE: task.paths.card.read_text(encoding="utf-8"),
    }
    if patch:
        files[PATCH_FILE] = without_credentials(patch)
        origin[PATCH] = hashlib.sha256(files[PATCH_FILE].encode()).hexdigest()
    for name, text in files.items():
        client.log_text(run_id, text, f"{where}/{name}")
    _log_profile(client, task, run_id, where)
    return origin


def _log_profile(client: MlflowClient, task: Task, run_id: str, where: str) -> None:
    """Log what the data look like that a version has learned from: later data are compared with that."""
    client.log_text(run_id, task.paths.profile.read_text(encoding="utf-8"), f"{where}/{PROFILE_FILE}")


def main_table(metrics: dict[str, Any], metric: str) -> str:
    """The card's table of metrics, with as many rows as a description has room for."""
    table = ""
    for line in metrics_table(metrics, metric).splitlines(keepends=True):
        if len(table) + len(line) > _TABLE:
            break
        table += line
    return table.rstrip("\n")


def environment() -> str:
    """Python, the platform and all that is installed, a line each."""
    installed = sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower)
    return "\n".join([f"# Python {platform.python_version()}, {platform.platform()}", *installed]) + "\n"


def _described(task: Task) -> str:
    predictor = task.predictor()
    columns = [", ".join(f"`{name}`" for name in names) for names in (predictor.inputs, predictor.outputs)]
    return f"{task.description().summary} A DataFrame with {columns[0]} in, one with {columns[1]} out."


def _judge(client: MlflowClient, task: Task, params: TaskParams, version: ModelVersion) -> None:
    """Make the version `challenger` and have the gate say whether it becomes `champion`.

    Raises PromotionError where the version does not answer: that is noted, and it is judged again the next time.
    """
    name, number, content = version.name, str(version.version), version.tags[CONTENT]
    client.set_registered_model_alias(name, CHALLENGER, number)
    earlier = client.get_registered_model(name).tags.get(f"{COLLECTED}{content[:32]}")
    if earlier is not None:
        reason = f"this content was judged before, as a version that `gc` deleted ({earlier})"
        write_verdict(client, name, number, Verdict(Decision.CHALLENGER_LOST, reason))
        return
    try:
        with busy(f"{name} version {number}: loading it and trying its example"):
            candidate = load_and_try(task, name, number)
    except PromotionError as error:
        write_verdict(client, name, number, Verdict(Decision.UNANSWERED, str(error)))
        raise
    run_id = str(version.run_id)
    with tempfile.TemporaryDirectory() as temporary:
        measured = latency.measure(candidate.model.predict, example_rows(task, candidate.model, Path(temporary)))
    for key, value in measured.items():
        client.log_metric(run_id, key, value)
    gate.judge(client, task, params, candidate, run_id, f"{folder(content)}/{gate.FILE}")


def sync() -> None:
    """Register every model whose receipt the store does not know, from the outputs at hand, without training."""
    from ..params import load
    from ..tasks.protocol import Task

    client = mlflow_runs.open_client()
    mlflow_runs.deliver()
    if waiting := mlflow_runs.waiting_for_another_store():
        print(f"{waiting} trainings are waiting to be sent to a store other than this one (MLFLOW_TRACKING_URI)")
    for name, params in load().items():
        task, path = Task(name), Task(name).paths.receipt
        if not path.is_file():
            print(f"{name}: no receipt yet; run `dvc repro register@{name}`")
            continue
        version = registered(client, task)
        if version and is_judged(version):
            continue
        content = read_json(path)
        if receipt(task, params) != content:
            print(f"{name}: the outputs have changed since {path} was written; run `dvc repro register@{name}`")
            continue
        try:
            version = register(task, params, content)
        except (ValueError, PromotionError) as error:  # of this model; the others go on
            print(f"{name}: {error}")
        else:
            print(f"{version.name} version {version.version}: {verdict_text(version)}")

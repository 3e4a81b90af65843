"""The table at the end of `make repro`: what each task reached, against what, and which version that became."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..data.files import read_json
from ..evaluation.report import best_baseline, format_number, with_interval
from ..tasks.protocol import Task
from ..tracking import mlflow_runs
from .aliases import verdict
from .versions import content_hash, find_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_COLUMNS = ("task", "metric", "test, 95 % interval", "best baseline", "registered model", "trained in")


def show() -> None:
    """Print a row a task, from the metrics files, the receipts and the store."""
    client = mlflow_runs.open_client()
    table = Table(caption_justify="left")
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in ("test, 95 % interval", "trained in") else "left")
    verdicts = []
    for name in Task.names():
        version = _version(client, Task(name))
        table.add_row(name, *_row(client, Task(name), version))
        if version is not None:
            verdicts.append(f"{version.name} {version.version}: {verdict(version)}")
    table.caption = "\n".join(verdicts)
    print_wide(table)


def print_wide(table: Table) -> None:
    """Print a table as wide as the terminal; in a log there is none to be too narrow."""
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


def alias_marks(version: ModelVersion) -> str:
    """The aliases of a version as they stand behind its number: ` @challenger @champion`."""
    return "".join(f" @{alias}" for alias in sorted(version.aliases))


def _version(client: MlflowClient, task: Task) -> ModelVersion | None:
    """The version that this checkout's outputs became, with its aliases, which one that is found by search lacks."""
    receipt, name = task.paths.receipt, task.description().model_name
    found = find_version(client, name, content_hash(read_json(receipt))) if receipt.is_file() else None
    return client.get_model_version(name, found.version) if found else None


def _row(client: MlflowClient, task: Task, version: ModelVersion | None) -> list[str]:
    paths, description = task.paths, task.description()
    if not paths.metrics.is_file() or not paths.receipt.is_file():
        return [description.metric, "not evaluated and registered yet", "", "", ""]
    metrics = read_json(paths.metrics)
    best = best_baseline(metrics, description.metric)
    cells = [
        description.metric,
        with_interval(metrics, description.metric),
        f"{format_number(best[1])} ({best[0].replace('_', ' ')})" if best else "none",
    ]
    if version is None:
        return [*cells, "not registered", ""]
    seconds = client.get_run(str(version.run_id)).data.metrics.get("training_seconds")
    trained = f"{seconds:.0f} s" if seconds is not None else "restored"
    return [*cells, f"{description.model_name} {version.version}{alias_marks(version)}", trained]

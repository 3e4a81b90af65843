"""The table at the end of `make repro`: what each task reached, against what, and which version that became."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from . import runs
from .json_files import read_json
from .paths import Paths
from .registry import content_hash, find_version
from .reporting import best_baseline, shown, with_interval
from .tasks import Task

if TYPE_CHECKING:
    from mlflow import MlflowClient

_COLUMNS = ("task", "metric", "test, 95 % interval", "best baseline", "registered model", "trained in")


def show() -> None:
    """Print a row a task, from the metrics files, the receipts and the store."""
    store = runs.client()
    table = Table()
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in ("test, 95 % interval", "trained in") else "left")
    for name in Task.names():
        table.add_row(name, *_row(store, Task(name)))
    console = Console()
    # In a log there is no terminal to be too narrow.
    (console if console.is_terminal else Console(width=140)).print(table)


def _row(store: MlflowClient, task: Task) -> list[str]:
    paths, description = Paths(task.name), task.description()
    if not paths.metrics.is_file() or not paths.receipt.is_file():
        return [description.metric, "not evaluated and registered yet", "", "", ""]
    metrics = read_json(paths.metrics)
    best = best_baseline(metrics, description.metric, higher_is_better=description.higher_is_better)
    version = find_version(store, description.model_name, content_hash(read_json(paths.receipt)))
    cells = [
        description.metric,
        with_interval(metrics, description.metric),
        f"{shown(best[1])} ({best[0].replace('_', ' ')})" if best else "none",
    ]
    if version is None:
        return [*cells, "not registered", ""]
    # A version found by search comes without its aliases.
    version = store.get_model_version(description.model_name, version.version)
    aliases = "".join(f" @{alias}" for alias in sorted(version.aliases))
    seconds = store.get_run(str(version.run_id)).data.metrics.get("training_seconds")
    trained = f"{seconds:.0f} s" if seconds is not None else "restored"
    return [*cells, f"{description.model_name} {version.version}{aliases}", trained]

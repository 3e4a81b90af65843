"""Tables of the registry: one row a task (the end of `make repro`), one a version; a version beside the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..data.files import read_json
from ..evaluation.report import (
    baseline_keys,
    best_baseline,
    format_number,
    headline_metric,
    metric_names,
    with_interval,
)
from ..provenance.hashes import parse_signature
from ..tasks.protocol import Task
from ..tracking import mlflow_runs
from .champion import NONE, answering_network
from .decision import METRIC, metric_of, verdict_text
from .lineage import Target, creation_time, list_versions, name_and_aliases
from .status import SideBySide, describe, same_data
from .versions import registered

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_SHORT_HASH = 12  # characters of a hash that are shown


def show_tasks() -> None:
    """Print what each task reached, against what, and which version that became: from its files and the store."""
    client = mlflow_runs.open_client()
    table = _table("task", "metric", "test, 95 % interval", "best baseline", "registered model", "trained in")
    verdicts = []
    for task in map(Task, Task.names()):
        version = registered(client, task)
        table.add_row(task.name, *_task_row(client, task, version))
        if version is not None:
            verdicts.append(f"{version.name} {version.version}: {verdict_text(version)}")
    table.caption, table.caption_justify = "\n".join(verdicts), "left"
    _print_wide(table)


def show_versions(client: MlflowClient, target: Target | None, md5: str | None) -> bool:
    """Print a row a version of one model or of all, or of those that come from a data md5; whether there was any.

    The heading says whose the number is: what answers may be refit, and is measured by nothing.
    """
    table = _table("model", "answers", "metric", "test (measured)", "made (UTC)", "verdict")
    for task, version in list_versions(client, target, md5):
        metric = metric_of(version) or task.description().metric
        noted = version.tags.get(f"{METRIC}{metric}")
        value = describe(client, version).metrics.get(metric) if noted is None else float(noted)
        number = "unknown" if value is None else f"{value:.4f}"
        answers = answering_network(task, version.name, str(version.version))
        table.add_row(name_and_aliases(version), answers, metric, number, creation_time(version), verdict_text(version))
    if table.row_count:
        _print_wide(table)
    return bool(table.row_count)


def show_comparison(task: Task, comparison: SideBySide) -> None:
    """Print the metrics of a version beside those of the champion, what was decided about both, and how to
    approve or reject it.
    """
    candidate, champion = comparison.candidate, comparison.champion
    if champion and champion.version == candidate.version:
        print(f"{comparison.model} version {candidate.version} is already the champion")
        return
    metric = candidate.metric or task.description().metric
    versions = [candidate, champion] if champion else [candidate]
    beside = f"champion, version {champion.version}" if champion else "no champion"
    table = Table("", f"version {candidate.version}", beside)
    for name in [*metric_names(candidate.metrics, metric), *baseline_keys(candidate.metrics, metric)]:
        table.add_row(name, *(with_interval(v.metrics, name) if name in v.metrics else "" for v in versions))
    signatures = [parse_signature(version.signature) for version in versions]
    for label, part in (("examples", "n"), ("test data", "data")):
        table.add_row(label, *(signature.get(part, "unknown")[:_SHORT_HASH] for signature in signatures))
    _print_wide(table)
    if champion and not same_data(candidate.signature, champion.signature):
        known = all(version.signature for version in versions)
        print(
            "The two were measured on different test data: a difference above may come from the data."
            if known
            else "It is not known whether the two were measured on the same test data."
        )
    for version in versions:
        print(f"{comparison.model} {version.version}: {version.verdict}")
    command, which = "python -m stages.registry.promotion", f"{task.name} --version {candidate.version}"
    seen = champion.version if champion else NONE
    print(f"To make it champion: {command} approve {which} --champion {seen} --reason TEXT")
    print(f"To turn it down: {command} reject {which} --reason TEXT")


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        right = column.startswith("test") or column == "trained in"
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _print_wide(table: Table) -> None:
    """Print a table as wide as the terminal; in a log there is none to be too narrow."""
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


def _task_row(client: MlflowClient, task: Task, version: ModelVersion | None) -> list[str]:
    paths = task.paths
    if not paths.metrics.is_file() or not paths.receipt.is_file():
        return [task.description().metric, "not evaluated and registered yet", "", "", ""]
    metrics = read_json(paths.metrics)
    metric = headline_metric(metrics, task.description())
    best = best_baseline(metrics, metric)
    baseline = f"{format_number(best[1])} ({best[0].replace('_', ' ')})" if best else "none"
    cells = [metric, with_interval(metrics, metric), baseline]
    if version is None:
        return [*cells, "not registered", ""]
    seconds = client.get_run(str(version.run_id)).data.metrics.get("training_seconds")
    return [*cells, name_and_aliases(version), f"{seconds:.0f} s" if seconds is not None else "restored"]

"""The plan, metrics and links as tables in Markdown, as Prefect shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.report import (
    baseline_keys,
    best_baseline,
    format_number,
    headline_metric,
    metric_names,
    table_row,
    with_interval,
)
from stages.metrics import higher_is_better
from stages.provenance.hashes import parse_signature
from stages.registry.status import ModelStatus, SideBySide, Version, same_data
from stages.tasks.protocol import Task
from stages.tracking import pages

from ..dag import PlannedStage
from ..plan import MEANING, reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """The metrics of a task in a checkout, and its model in the registry where that has answered."""

    task: Task
    metrics: Mapping[str, Any]  # metrics/TASK.json
    model: ModelStatus | None


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, align: str = "") -> str:
    """A table; `align` has a letter for each column, l or r, and none where all are aligned on the left."""
    rules = ["---:" if side == "r" else "---" for side in align or "l" * len(columns)]
    return "\n".join(table_row(cells) for cells in (columns, rules, *rows))


def plan_table(plan: Sequence[PlannedStage]) -> str:
    """Which stages run, where and why."""
    rows = []
    for stage in plan:
        where = f"pool {stage.pool}" if stage.pool else "here"
        where = "" if stage.verdict in ("cached", "held") else where
        rows.append([f"`{stage.name}`", MEANING[stage.verdict], where, reasons(stage)])
    return markdown_table(["stage", "what", "where", "why"], rows)


def metrics_table(results: Sequence[TaskResult]) -> str:
    """The metrics that models are judged by, and below them all the others."""
    columns = ["task", "metric", "this run", "champion", "who is better", "best baseline", "n"]
    parts = [markdown_table(columns, map(_metric_row, results), align="llrrlrr")]
    # Lines, not cells: the gate's reasons are long, and the page of an artifact is narrow.
    models = [result.model for result in results if result.model]
    registered = [
        f"- `{model.name}` version {model.here.version}: {model.here.verdict}" for model in models if model.here
    ]
    if registered:
        parts.append("\n".join(registered))
    for result in results:
        champion = result.model.champion if result.model else None
        columns = [result.task.name, "this run", "champion"]
        theirs = champion.metrics if champion else {}
        names = metric_names(result.metrics, headline_metric(result.metrics, result.task.description()))
        rows = [[name, _value(result.metrics, name), _value(theirs, name)] for name in names]
        parts.append(markdown_table(columns, rows, align="lrr"))
    return "\n\n".join(parts)


def _metric_row(result: TaskResult) -> list[str]:
    metric = headline_metric(result.metrics, result.task.description())
    value = float(result.metrics[metric])
    best = best_baseline(result.metrics, metric)
    signature = str(result.metrics.get("signature", ""))
    champion = result.model.champion if result.model else None
    here = result.model.here if result.model else None
    theirs = f"{_value(champion.metrics, metric) or 'unknown'}, version {champion.version}" if champion else "none"
    baseline = "none"
    if best:
        name = best[0].replace("_", " ")
        baseline = f"{format_number(best[1])} ({name}): {compare(value, best[1], metric, other='the baseline')}"
    return [
        result.task.name,
        f"{metric} {_arrow(metric)}",
        with_interval(result.metrics, metric),
        theirs,
        compare_with_champion(value, signature, champion, here, metric),
        baseline,
        parse_signature(signature).get("n", ""),
    ]


def compare_with_champion(
    value: float,
    signature: str,
    champion: Version | None,
    here: Version | None,
    metric: str,
    *,
    this: str = "this run",
) -> str:
    """Who is better, `this` or the champion, or that they are equal, or why nothing can be said."""
    if champion is None or metric not in champion.metrics:
        return ""
    if here is not None and here.version == champion.version:
        return "it is the champion"
    if not same_data(signature, champion.signature):
        return "measured on other data"
    return compare(value, champion.metrics[metric], metric, this=this, other="the champion")


def compare(value: float, others: float, metric: str, *, this: str = "this run", other: str) -> str:
    """Who is better, by two values of a metric. In words: not every machine has a font for marks."""
    if value == others:
        return "equal"
    return f"{this if (value > others) == higher_is_better(metric) else other} is better"


def links_table(models: Mapping[str, ModelStatus], tasks: Sequence[str], ui: str) -> str:
    """Links to the pages of MLflow for each task's version, its run, and the champion; empty where there is none."""
    rows = []
    for name in tasks:
        model = models.get(name)
        if model and model.here:
            champion = version_link(model.name, model.champion, ui) if model.champion else "none"
            rows.append([name, version_link(model.name, model.here, ui), run_link(model.here, ui), champion])
    return markdown_table(["task", "model", "run", "champion"], rows) if rows else ""


def version_link(model: str, version: Version, ui: str) -> str:
    """A link in Markdown to the page of a version."""
    return f"[{model} {version.version}]({pages.version_page(model, version.version, ui)})"


def run_link(version: Version, ui: str) -> str:
    """A link in Markdown to the page of a version's run."""
    if not version.run_id:
        return "deleted"
    return f"[{version.run_id[:8]}]({pages.run_page(version.experiment_id, version.run_id, ui)})"


def comparison_report(task: Task, comparison: SideBySide, ui: str | None) -> str:
    """A version beside the champion, in Markdown: what is judged first, then all metrics, where each came from."""
    candidate, champion = comparison.candidate, comparison.champion
    metric = candidate.metric or task.description().metric
    ours, theirs = candidate.metrics, champion.metrics if champion else {}
    others = [name for name in metric_names(ours, metric) if name != metric]
    columns = [
        task.name,
        f"version {candidate.version}",
        f"champion, version {champion.version}" if champion else "no champion",
    ]
    rows = [[f"**{metric}** {_arrow(metric)}", _value(ours, metric), _value(theirs, metric)]]
    rows += [[n, _value(ours, n), _value(theirs, n)] for n in (*baseline_keys(ours, metric), *others)]
    gate = f"The registry's gate: {candidate.verdict}. {_measured_on(candidate)}"
    if champion:
        gate += f" The champion: {champion.verdict}. {_measured_on(champion)}"
    dirty = " with uncommitted changes" if comparison.dirty else ""
    return "\n\n".join(
        [
            f"**{comparison.model} version {candidate.version}** {_headline(comparison, metric)}",
            gate,
            f"Code: commit `{comparison.commit[:12]}`{dirty}.{_links(comparison, ui)}",
            markdown_table(columns, rows, align="lrr"),
        ]
    )


def _headline(comparison: SideBySide, metric: str) -> str:
    candidate, champion = comparison.candidate, comparison.champion
    if champion is None:
        return "would be the first champion."
    if metric not in candidate.metrics or metric not in champion.metrics:
        return f"cannot be compared with the champion: {metric} is not known for both."
    this = f"version {candidate.version}"
    value = candidate.metrics[metric]
    result = compare_with_champion(value, candidate.signature, champion, candidate, metric, this=this)
    same = " on the same test data" if same_data(candidate.signature, champion.signature) else ""
    return f"against the champion, version {champion.version}, by {metric}: {result}{same}."


def _measured_on(version: Version) -> str:
    signature = parse_signature(version.signature)
    if not signature:
        return "It is not known how it was measured."
    return f"Measured on {signature.get('n', '?')} examples of data `{signature.get('data', '?')[:12]}`."


def _links(comparison: SideBySide, ui: str | None) -> str:
    if not ui:
        return ""
    versions = [comparison.candidate, *([comparison.champion] if comparison.champion else [])]
    links = [f"{version_link(comparison.model, version, ui)}, run {run_link(version, ui)}" for version in versions]
    return f" In MLflow: {'; '.join(links)}."


def _value(metrics: Mapping[str, float], name: str) -> str:
    return with_interval(metrics, name) if name in metrics else ""


def _arrow(metric: str) -> str:
    return "↑" if higher_is_better(metric) else "↓"

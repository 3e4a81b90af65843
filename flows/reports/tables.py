"""Metrics and links as tables in Markdown, as Prefect shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.report import baseline_keys, best_baseline, format_number, is_bound, table_row, with_interval
from stages.metrics import higher_is_better
from stages.registry.promotion import Comparison
from stages.registry.status import Model, Version
from stages.tasks.protocol import Task

_SAME_DATA = ("data", "split", "n")  # what two signatures share whose metrics may be compared; the seed is training's


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What a task has reached in a checkout, and what the registry says of it where it has answered."""

    task: Task
    metrics: Mapping[str, Any]  # metrics/TASK.json
    model: Model | None


def metrics_table(reached: Sequence[Reached]) -> str:
    """The metrics that models are judged by, and below them all the others."""
    rows = [_row(entry) for entry in reached]
    columns = "| task | metric | this run | champion | | best baseline | n |"
    parts = ["\n".join([columns, "|---|---|---:|---:|---|---:|---:|", *rows])]
    if registered := [_registered(entry.model) for entry in reached if entry.model and entry.model.here]:
        parts.append("\n".join(registered))
    parts += [details(entry.task, entry.metrics, entry.model.champion if entry.model else None) for entry in reached]
    return "\n\n".join(parts)


def _row(entry: Reached) -> str:
    description = entry.task.description()
    metric = description.metric
    value = float(entry.metrics[metric])
    best = best_baseline(entry.metrics, metric)
    signature = parse_signature(str(entry.metrics.get("signature", "")))
    champion = entry.model.champion if entry.model else None
    here = entry.model.here if entry.model else None
    cells = [
        entry.task.name,
        f"{metric} {_arrow(metric)}",
        with_interval(entry.metrics, metric),
        _champions(champion, metric),
        against(value, str(entry.metrics.get("signature", "")), champion, here, metric),
        f"{format_number(best[1])} ({best[0].replace('_', ' ')}): {compared(value, best[1], metric)}"
        if best
        else "none",
        signature.get("n", ""),
    ]
    return table_row(cells)


def _registered(model: Model) -> str:
    # A line, not a cell: the gate's reasons are long, and the page of an artifact is narrow.
    assert model.here is not None
    return f"- `{model.name}` version {model.here.version}: {model.here.verdict or 'never judged'}"


def _champions(champion: Version | None, metric: str) -> str:
    if champion is None:
        return "none"
    return f"{_value(champion.metrics, metric) or 'unknown'}, version {champion.version}"


def against(value: float, signature: str, champion: Version | None, here: Version | None, metric: str) -> str:
    """How a value stands against the champion's: better, worse, equal, or why nothing can be said."""
    if champion is None or metric not in champion.metrics:
        return ""
    if here is not None and here.version == champion.version:
        return "it is the champion"
    if not same_data(signature, champion.signature):
        return "measured on other data"
    return compared(value, champion.metrics[metric], metric)


def compared(value: float, other: float, metric: str) -> str:
    """`better`, `worse` or `equal`. In words: not every machine has a font for marks."""
    if value == other:
        return "equal"
    return "better" if (value > other) == higher_is_better(metric) else "worse"


def parse_signature(signature: str) -> dict[str, str]:
    """The parts of a signature of metrics, `data:…|split:…|n:…`, by name."""
    return dict(part.split(":", 1) for part in signature.split("|") if ":" in part)


def same_data(one: str, other: str) -> bool:
    """Whether two signatures stand on the same examples of the same data."""
    first, second = parse_signature(one), parse_signature(other)
    return all(first.get(key) == second.get(key) for key in _SAME_DATA) and bool(first)


def details(task: Task, metrics: Mapping[str, Any], champion: Version | None) -> str:
    """All metrics of a task, without the baselines', beside the champion's."""
    numbers = [name for name, value in metrics.items() if isinstance(value, (int, float))]
    names = [name for name in numbers if not name.startswith("baseline_") and not is_bound(metrics, name)]
    theirs = champion.metrics if champion else {}
    rows = [table_row([n, _value(metrics, n), _value(theirs, n)]) for n in names]
    head = f"| {task.name} | this run | champion |"
    return "\n".join([head, "|---|---:|---:|", *rows])


def links_table(models: Mapping[str, Model], tasks: Sequence[str], ui: str) -> str:
    """Links to the pages of MLflow for each task's version, its run, and the champion; empty where there is none."""
    rows = []
    for name in tasks:
        model = models.get(name)
        if model and model.here:
            champion = version_link(model.name, model.champion, ui) if model.champion else "none"
            rows.append(table_row([name, version_link(model.name, model.here, ui), run_link(model.here, ui), champion]))
    return "\n".join(["| task | model | run | champion |", "|---|---|---|---|", *rows]) if rows else ""


def version_link(model: str, version: Version, ui: str) -> str:
    """A link in Markdown to the page of a version."""
    return f"[{model} {version.version}]({ui.rstrip('/')}/#/models/{model}/versions/{version.version})"


def run_link(version: Version, ui: str) -> str:
    """A link in Markdown to the page of a version's run."""
    if not version.run_id:
        return "no longer there"
    return f"[{version.run_id[:8]}]({ui.rstrip('/')}/#/experiments/{version.experiment_id}/runs/{version.run_id})"


def comparison(task: Task, compared: Comparison, ui: str | None) -> str:
    """A version beside the champion, in Markdown: what is judged first, then all metrics, where each came from."""
    description = task.description()
    candidate, champion = compared.candidate, compared.champion
    metric = description.metric
    theirs = champion.metrics if champion else {}
    head = [
        task.name,
        f"version {candidate.version}",
        f"champion, version {champion.version}" if champion else "no champion",
    ]
    baselines = baseline_keys(candidate.metrics, metric)
    known = candidate.metrics
    others = [n for n in known if n != metric and not n.startswith("baseline_") and not is_bound(known, n)]
    names = [metric, *baselines, *others]
    rows = [table_row([_name(n, metric), _value(candidate.metrics, n), _value(theirs, n)]) for n in names]
    lines = [
        f"**{compared.model} version {candidate.version}** {_verdict(compared, metric)}",
        f"The registry's gate: {candidate.verdict or 'never judged'}. {_measured(candidate)}"
        + (f" The champion: {champion.verdict}. {_measured(champion)}" if champion else ""),
        f"Code: commit `{compared.commit[:12]}`{' with uncommitted changes' if compared.dirty else ''}."
        + _links(compared, ui),
        "\n".join([table_row(head), "|---|---:|---:|", *rows]),
    ]
    return "\n\n".join(lines)


def _verdict(compared: Comparison, metric: str) -> str:
    candidate, champion = compared.candidate, compared.champion
    if champion is None:
        return "would be the first champion."
    if metric not in candidate.metrics or metric not in champion.metrics:
        return f"cannot be compared with the champion: {metric} is not known of both."
    found = against(candidate.metrics[metric], candidate.signature, champion, candidate, metric)
    same = " on the same test data" if same_data(candidate.signature, champion.signature) else ""
    return f"against the champion, version {champion.version}, by {metric}: {found}{same}."


def _measured(version: Version) -> str:
    known = parse_signature(version.signature)
    if not known:
        return "How it was measured is not known."
    return f"Measured on {known.get('n', '?')} examples of data `{known.get('data', '?')[:12]}`."


def _links(compared: Comparison, ui: str | None) -> str:
    if not ui:
        return ""
    versions = [compared.candidate, *([compared.champion] if compared.champion else [])]
    linked = [f"{version_link(compared.model, version, ui)}, run {run_link(version, ui)}" for version in versions]
    return f" In MLflow: {'; '.join(linked)}."


def _name(name: str, metric: str) -> str:
    return f"**{name}** {_arrow(metric)}" if name == metric else name


def _value(metrics: Mapping[str, float], name: str) -> str:
    return with_interval(metrics, name) if name in metrics else ""


def _arrow(metric: str) -> str:
    return "↑" if higher_is_better(metric) else "↓"

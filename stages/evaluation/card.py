"""A model's card: what it answers, how well, on which data, and what it cannot do, in words for someone who finds it in
the registry. After Mitchell et al., "Model Cards for Model Reporting", 2019, https://arxiv.org/abs/1810.03993

The numbers come from the evaluate stage; `evaluate/card.md` of each task is written by hand, and its sections are taken
over; of those called `Source: KIND` the one that `source.kind` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..data.files import read_json
from ..data.prepared import open_prepared
from ..data.store import SPLITS
from ..metrics import higher_is_better
from ..params_yaml import flatten
from ..paths import Paths
from .bootstrap import RESAMPLES
from .meanings import meaning
from .report import (
    Report,
    baseline_keys,
    best_baseline,
    format_interval,
    format_number,
    metric_names,
    ranked_baselines,
    simpler_is_better,
    table_row,
    with_interval,
)

if TYPE_CHECKING:
    from ..params import TaskParams
    from ..tasks.protocol import Task

_WORST = 3
_MIN_EXAMPLES = 10  # in a slice of the test split that is called weak
_FEW_GROUPS = 30  # with fewer, percentile intervals are known to be too narrow
_SOURCE = "Source: "


def model_card(task: Task, params: TaskParams, report: Report, *, signature: str) -> str:
    """The card in Markdown, of what the evaluate stage measured (`report`, `signature`) and what it started from.

    Raises ValueError where the task's `card.md` does not begin with a heading.
    """
    paths, description = task.paths, task.description()
    metric = report.metric or description.metric
    training = read_json(paths.network)["training"]
    handwritten = read_sections(task, str(params.source.model_dump().get("kind", "")))
    sections = {title: text for title, text in handwritten.items() if not title.startswith(_SOURCE)}
    sources = "".join(f"{text}\n\n" for title, text in handwritten.items() if title.startswith(_SOURCE))
    sections |= {
        "Metrics": _metrics(report, metric),
        "Weakest slices": _weakest_slices(report, metric),
        "Calibration": _calibration(report),
        "Data": sources + _data(paths, report.metrics, signature),
        "Params": _params(task, params, training),
        "Signatures of the metrics": _signatures(report, signature),
    }
    summary = _summary(metric, report, training) + _refit(paths)
    parts = [f"# {description.model_name}", description.summary, summary]
    return "\n\n".join([*parts, *(f"## {title}\n\n{text}" for title, text in sections.items())]) + "\n"


def read_sections(task: Task, kind: str) -> dict[str, str]:
    """The sections of the task's `card.md` by their title, of the `Source` ones only that of `kind`."""
    path = task.folder / "evaluate" / "card.md"
    before, *pieces = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if before.strip():
        raise ValueError(
            f"{path}: found {before.strip()[:40]!r} before the first heading; allowed: sections with `## `"
        )
    sections = {title: text.strip() for title, _, text in (piece.partition("\n") for piece in pieces)}
    return {t: text for t, text in sections.items() if not t.startswith(_SOURCE) or t == f"{_SOURCE}{kind}"}


def metrics_table(metrics: Mapping[str, Any], metric: str) -> str:
    """A Markdown table of what a model and its baselines reached, a row a metric, beginning with the headline `metric`
    and with the baseline that is hardest to beat; `metrics` as metrics/TASK.json has them.
    """
    names = metric_names(metrics, metric)
    keys = [(key, name) for name in names for key in baseline_keys(metrics, name)]
    named = sorted({key.removeprefix("baseline_").removesuffix(f"_{name}") for key, name in keys})
    hardest = [name for name, _ in ranked_baselines(metrics, metric)]
    baselines = [*hardest, *(name for name in named if name not in hardest)]
    rows = []
    for name in names:
        values = [metrics.get(f"baseline_{baseline}_{name}") for baseline in baselines]
        others = ["" if value is None else format_number(value) for value in values]
        rows.append([f"`{name}`", with_interval(metrics, name), *others, meaning(name)])
    return _table(["metric", "this model", *map(_spaced, baselines), "meaning"], rows)


def _summary(metric: str, report: Report, training: Mapping[str, Any]) -> str:
    best = best_baseline(report.metrics, metric)
    baseline = (
        f"the best baseline, {_spaced(best[0])}, reaches {format_number(best[1])}"
        if best
        else "no baseline was measured"
    )
    reached = f"**{metric} {with_interval(report.metrics, metric)}** ({meaning(metric)})"
    text = f"{reached} on {report.n:,} test examples; {baseline}."
    if simpler := simpler_is_better(report.metrics, metric):
        text = f"**{simpler[0].upper()}{simpler[1:]}.**\n\n{text}"
    if training["mode"] != "full":
        text += f"\n\n**Not for use:** it was trained with `train.mode` {training['mode']}, so it is no usable model."
    return text


def _refit(paths: Paths) -> str:
    """That what answers is not what was measured, where the network was refit."""
    if not paths.served.is_dir():
        return ""
    return (
        "\n\n**Refit:** the numbers here belong to a network that has never seen the test split. The network that "
        "answers was trained anew on training, validation and test data, with the same settings and number of epochs, "
        "and keeps the calibration of the measured one. It could not be measured itself, since no data were held back."
    )


def _metrics(report: Report, metric: str) -> str:
    text = (
        f"On the {report.split} split, {report.n:,} examples that the network has never seen. In brackets: 95 % "
        f"bootstrap intervals from {RESAMPLES:,} resamples of the "
        + (f"{report.groups:,} groups of similar examples" if report.groups < report.n else "examples")
        + ("; with so few, the true interval is wider than this one" if report.groups < _FEW_GROUPS else "")
        + ".\n\n"
        + metrics_table(report.metrics, metric)
    )
    if metric in ("accuracy", "exact_match") and report.metrics[metric] == 1:
        text += (
            f"\n\nThe model answered no test example wrongly, so the interval says nothing about its error rate. "
            f"With {report.n:,} independent examples, an error rate of up to {3 / report.n:.1%} is still compatible "
            "with that (the rule of three: Hanley and Lippman-Hand, 1983); with similar examples, a higher one."
        )
    return text


def _weakest_slices(report: Report, metric: str) -> str:
    slices = [part for part in report.slices if part.n >= _MIN_EXAMPLES] or report.slices
    ranked = sorted(slices, key=lambda part: part.metric if higher_is_better(metric) else -part.metric)
    kinds = ", ".join(dict.fromkeys(part.slice for part in report.slices))
    if ranked[0].metric == ranked[-1].metric:
        return f"All slices of the test split (by {kinds}) have the same {_spaced(metric)}."
    rows = [[p.slice, p.value, f"{p.n:,}", format_interval(p.metric, p.low, p.high)] for p in ranked[:_WORST]]
    return f"The worst slices of the test split, by {kinds}; `slices.csv` lists all slices.\n\n" + _table(
        ["by", "slice", "n", _spaced(metric)], rows
    )


def _calibration(report: Report) -> str:
    rows = [[f"{row.expected:.1%}", f"{row.observed:.1%}", f"{row.n:,}"] for row in report.calibration]
    error = report.metrics.get("ece")
    apart = "" if error is None else f" On average they differ by {error:.1%}."
    return f"The frequency that the stated probabilities predict, and the observed one.{apart}\n\n" + _table(
        ["expected", "observed", "n"], rows
    )


def _data(paths: Paths, metrics: Mapping[str, float], signature: str) -> str:
    store, description = open_prepared(paths.prepared)
    counts = {split: len(store.rows(split)) for split in SPLITS}
    # Series are cut in time: the store has all of them in one split.
    facts = [[f"sequences in {split}", f"{count:,}"] for split, count in counts.items() if counts["test"]]
    for key, value in description.items():
        if isinstance(value, (str, int, float)) and key not in metrics:
            facts.append([_spaced(key), str(value)])
        elif key == "classes":
            facts.append([f"{len(value)} classes", ", ".join(value[:50]) + (", …" if len(value) > 50 else "")])
    records = read_json(paths.preparation_metrics)
    facts += [[_spaced(name), f"{value:,}"] for name, value in records.items() if not name.endswith("_share")]
    facts.append(["md5 of the prepared data (DVC's)", f"`{signature.split('|')[0].removeprefix('data:')}`"])
    return _table(["", ""], facts)


def _params(task: Task, params: TaskParams, training: Mapping[str, Any]) -> str:
    values = flatten(params.model_dump(by_alias=True, include={"source", "prepare", "model", "train"}))
    options = task.predictor().options
    values |= {f"evaluate.{name}": value for name, value in params.evaluate.model_dump().items() if name in options}
    best = params.train.choose == "best"
    reached = f"Of {training['epochs']} epochs, the weights of epoch {training['best_epoch'] + 1} were the best."
    if not best:
        reached = f"The weights are those of the last of {training['epochs']} epochs, as set by `train.choose`."
    if best and training["mode"] == "full" and training["still_improving"]:
        reached += " The network was still improving in its last epoch: `train.epochs` may be too few."
    if "started_from" in training:
        reached += (
            f" The training started from {training['started_from']}, so it builds on what that network has learned."
        )
    return f"{reached}\n\n" + _table(["param", "value"], ([f"`{k}`", _param(v)] for k, v in values.items()))


def _param(value: object) -> str:
    """A value of params.yaml; of an address the host alone, since a card holds no secret and no path of a machine."""
    if isinstance(value, list) and any(isinstance(one, str) and "://" in one for one in value):
        return ", ".join(map(_param, value))
    text = str(value)
    return f"({urlsplit(text).hostname or 'a local file'})" if "://" in text else text


def _signatures(report: Report, signature: str) -> str:
    return "\n".join(f"    {line}" for line in [signature, *(f"{k} {v}" for k, v in report.signatures.items())])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(map(table_row, [head, ["---"] * len(head), *rows]))


def _spaced(name: str) -> str:
    return name.replace("_", " ")

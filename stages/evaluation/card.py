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
from ..params import flatten
from ..paths import Paths
from .bootstrap import RESAMPLES
from .report import Report, Slice, baseline_keys, best_baseline, is_bound, shown, table_row, with_interval

if TYPE_CHECKING:
    from ..params import TaskParams
    from ..tasks.protocol import Task

_WORST = 3
_FEWEST = 10  # examples in a part of the test split that is called weak
_FEW_GROUPS = 30  # with fewer, percentile intervals are known to be too narrow
_SOURCE = "Source: "
_MEANINGS = {
    "accuracy": "share of examples whose first answer is right",
    "top5_accuracy": "share of examples with the right answer among the first five",
    "macro_f1": "harmonic mean of precision and recall, averaged over the classes",
    "log_loss": "mean surprise at the truth, in nats; lower is better",
    "ece": "expected calibration error, how far stated probabilities are off; lower is better",
    **{f"accuracy_seen_{n}": f"accuracy when a drawing is broken off after {n} % of its points" for n in (20, 50, 80)},
    "recognised": "share of its drawings that the sketch classifier takes for what was asked",
    "real_recognised": "the same of people's drawings in the test split",
    "nll": "negative log-likelihood of test drawings a step, in nats, offsets in pixels; lower is better",
    "pen_nll": "what of it is the pen's",
    "shuffled_accuracy": "accuracy where the frames of each clip come in random order",
    "exact_match": "share of answers that are a reference, to the character",
    "best_possible_exact_match": "what the best of all translators may expect here",
    "bleu": "words and their sequences shared with references, 0 to 100 (sacreBLEU)",
    "chrf": "sequences of characters shared with references, 0 to 100 (sacreBLEU)",
    "mae": "mean absolute error of the mean, in the series' unit; lower is better",
    "mae_of_median": "the same of the median; lower is better",
    "rmse": "root of the mean squared error; lower is better",
    "mase": "error in units of what repeating the last week is wrong by; lower is better",
    "smape": "symmetric percentage error, 0 to 200; lower is better",
    "wql": "weighted quantile loss; lower is better",
    "coverage_90": "share of days inside the 90 % band; 0.9 is best",
    **{
        f"skill_{name}": f"by which share its error is smaller than that of the baseline {name}; above 0 is better"
        for name in ("naive", "seasonal_naive", "autoets", "autotheta", "ridge")
    },
    **{
        f"{name}_failed_fits": f"forecasts of the baseline {name} that had to be replaced"
        for name in ("autoets", "autotheta")
    },
}


def model_card(task: Task, params: TaskParams, report: Report, *, signature: str) -> str:
    """The card in Markdown, from what the evaluate stage found (`report`, `signature`) and what it started from.

    Raises ValueError where the task's `card.md` does not begin with a heading.
    """
    paths, description = task.paths, task.description()
    training = read_json(paths.network)["training"]
    sections = _written(task, str(params.source.model_dump().get("kind", "")))
    parts = [
        f"# {description.model_name}",
        description.summary,
        _at_a_glance(task, report, training),
        *(f"## {title}\n\n{text}" for title, text in sections.items() if not title.startswith(_SOURCE)),
        f"## How good it is\n\n{_measured(report, description.metric)}",
        f"## Where it is weakest\n\n{_weakest(report, description.metric)}",
        f"## How sure it is of itself\n\n{_calibrated(report)}",
        f"## Data\n\n{_data(sections, paths, report.metrics, signature)}",
        f"## Params\n\n{_params(task, params, training)}",
        "## Signature of the metrics\n\n" + _signatures(report, signature),
    ]
    return "\n\n".join(parts) + "\n"


def _written(task: Task, kind: str) -> dict[str, str]:
    """The sections of the task's `card.md` by their title, with the `Source` that is not `kind` left out."""
    path = task.folder / "evaluate" / "card.md"
    before, *pieces = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if before.strip():
        raise ValueError(
            f"{path}: found {before.strip()[:40]!r} before the first heading; allowed: sections with `## `"
        )
    sections = {title: text.strip() for title, _, text in (piece.partition("\n") for piece in pieces)}
    return {t: text for t, text in sections.items() if not t.startswith(_SOURCE) or t == f"{_SOURCE}{kind}"}


def _at_a_glance(task: Task, report: Report, training: Mapping[str, Any]) -> str:
    description = task.description()
    metric = description.metric
    best = best_baseline(report.metrics, metric)
    beside = (
        f"; the best baseline, {_words(best[0])}, reaches {shown(best[1])}" if best else "; no baseline was measured"
    )
    reached = f"**{metric} {with_interval(report.metrics, metric)}** ({_meaning(metric)})"
    line = f"{reached} on {report.n:,} test examples{beside}."
    if training["mode"] != "full":
        line += f"\n\n**Not for use:** it was trained with `train.mode` {training['mode']}, which gives no model."
    return line


def _measured(report: Report, metric: str) -> str:
    metrics = report.metrics
    names = [name for name in metrics if not name.startswith("baseline_") and not is_bound(metrics, name)]
    names.sort(key=lambda name: (name != metric, name not in _MEANINGS, name))
    suffixes = {name: baseline_keys(metrics, name) for name in names}
    baselines = sorted({key.removeprefix("baseline_").removesuffix(f"_{n}") for n in names for key in suffixes[n]})
    rows = []
    for name in names:
        beside = [metrics.get(f"baseline_{baseline}_{name}") for baseline in baselines]
        others = ["" if value is None else shown(value) for value in beside]
        rows.append([f"`{name}`", with_interval(metrics, name), *others, _meaning(name)])
    text = (
        f"On the {report.split} split, {report.n:,} examples that the network has never seen. In brackets 95 % "
        f"intervals: the examples were drawn again {RESAMPLES:,} times, those that are alike together"
        + (f", in {report.groups:,} groups" if report.groups < report.n else "")
        + ("; so few make an interval look narrower than it is" if report.groups < _FEW_GROUPS else "")
        + ".\n\n"
        + _table(["metric", "this model", *map(_words, baselines), "meaning"], rows)
    )
    if metric in ("accuracy", "exact_match") and metrics[metric] == 1:
        text += (
            f"\n\nNo test example was answered wrongly, and the interval cannot say how often others will be. With "
            f"{report.n:,} independent examples, {3 / report.n:.1%} wrong answers would still be compatible with that "
            "(the rule of three: Hanley and Lippman-Hand, 1983); examples that are alike say less."
        )
    return text


def _weakest(report: Report, metric: str) -> str:
    parts = [part for part in report.parts if part.n >= _FEWEST] or report.parts

    def badness(part: Slice) -> float:
        return part.metric if higher_is_better(metric) else -part.metric

    worst = sorted(parts, key=badness)[:_WORST]
    rows = [[p.slice, p.value, f"{p.n:,}", _interval(p)] for p in worst]
    kinds = ", ".join(dict.fromkeys(part.slice for part in report.parts))
    if worst[0].metric == max(parts, key=badness).metric:
        return f"Nowhere: all parts of the test split ({kinds}) have the same {_words(metric)}."
    return f"The worst parts of the test split, parted by {kinds}; `slices.csv` has all.\n\n" + _table(
        ["by", "part", "n", _words(metric)], rows
    )


def _interval(part: Slice) -> str:
    low, high = (shown(end, like=part.metric) for end in (part.low, part.high))
    return f"{shown(part.metric)} [{low}, {high}]"


def _calibrated(report: Report) -> str:
    rows = [[f"{row.expected:.1%}", f"{row.observed:.1%}", f"{row.n:,}"] for row in report.calibrated]
    error = report.metrics.get("ece")
    apart = "" if error is None else f" On average the two are {error:.1%} apart."
    return f"How often something should come true by what it says, and how often it did.{apart}\n\n" + _table(
        ["expected", "observed", "n"], rows
    )


def _data(sections: Mapping[str, str], paths: Paths, metrics: Mapping[str, float], signature: str) -> str:
    store, description = open_prepared(paths.prepared)
    counts = {split: len(store.rows(split)) for split in SPLITS}
    # Series are cut in time: the store has all of them in one split.
    facts = [[f"sequences in {split}", f"{count:,}"] for split, count in counts.items() if counts["test"]]
    for key, value in description.items():
        if isinstance(value, (str, int, float)) and key not in metrics:
            facts.append([_words(key), str(value)])
        elif key == "classes":
            facts.append([f"{len(value)} classes", ", ".join(value[:50]) + (", …" if len(value) > 50 else "")])
    counted = read_json(paths.preparation_metrics)
    facts += [[_words(name), f"{value:,}"] for name, value in counted.items() if not name.endswith("_share")]
    facts.append(["md5 of the prepared data (DVC's)", f"`{signature.split('|')[0].removeprefix('data:')}`"])
    source = "\n\n".join(text for title, text in sections.items() if title.startswith(_SOURCE))
    return f"{source}\n\n" * bool(source) + _table(["", ""], facts)


def _params(task: Task, params: TaskParams, training: Mapping[str, Any]) -> str:
    blocks = flatten(params.model_dump(by_alias=True, include={"source", "prepare", "model", "train"}))
    served = task.predictor().options
    blocks |= {f"evaluate.{name}": value for name, value in params.evaluate.model_dump().items() if name in served}
    reached = f"Of {training['epochs']} epochs, the weights of epoch {training['best_epoch'] + 1} were the best."
    return f"{reached}\n\n" + _table(["param", "value"], ([f"`{k}`", _param(v)] for k, v in blocks.items()))


def _meaning(name: str) -> str:
    if name.startswith("greedy_"):
        return f"{name.removeprefix('greedy_')} by greedy search"
    if name.startswith("mae_day_"):
        return f"mae of day {name.removeprefix('mae_day_')} ahead"
    return _MEANINGS.get(name, "")


def _signatures(report: Report, signature: str) -> str:
    found = {"": signature, **{f"{name} ": value for name, value in report.signatures.items()}}
    return "\n".join(f"    {name}{value}" for name, value in found.items())


def _param(value: object) -> str:
    """A value of params.yaml; of an address the host alone, since a card holds no secret and no path of a machine."""
    text = str(value)
    return f"({urlsplit(text).hostname or 'a local file'})" if "://" in text else text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(map(table_row, [head, ["---"] * len(head), *rows]))


def _words(name: str) -> str:
    return name.replace("_", " ")

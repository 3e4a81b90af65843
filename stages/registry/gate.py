"""Which new version becomes champion: one that beats its baselines and, on today's test set, the present champion.

The two are compared as their users meet them: each loads from the registry, however old its code is, and answers the
same test examples (`stages/tasks/NAME/evaluate/comparison.py`). The new one is better where it is so in enough of the
draws of a paired bootstrap (`register.confidence`). One whose answers are the champion's own takes its place, too: it
differs in code or packages alone, and the newer of these are what its documentation describes. Where the champion
cannot answer, because its files are gone or its columns are others, the baselines decide alone: it must not stand in
the way for ever. It answers after the new one has, so that it is not taken for broken because the store is away.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..data.files import read_json
from ..evaluation.bootstrap import chance_of_being_better, interval
from ..evaluation.report import baseline_keys, best_baseline, headline_metric
from ..metrics import higher_is_better
from .champion import NONE, ChampionMoved, LoadedModel, error_line, load_model, make_champion, with_alias
from .decision import CHAMPION, Decision, Verdict, write_verdict

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from ..evaluation.bootstrap import Scores
    from ..params import TaskParams
    from ..tasks.protocol import Description, Task

FILE = "gate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a version reached on today's test examples: the task's metric with its 95 % interval."""

    version: str
    value: float
    low: float
    high: float
    unanswered: int  # rows that it could not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A new version beside the champion, on the same test examples."""

    examples: int
    candidate: Evaluation
    champion: Evaluation | None
    fault: str  # why the champion has no answers
    chance: float | None  # that the candidate is better, 0 to 1; None without a champion's answers
    same: bool  # whether the candidate gives all the answers that the champion gives


def judge(client: MlflowClient, task: Task, params: TaskParams, candidate: LoadedModel, run_id: str, file: str) -> None:
    """Make a version the champion if it deserves it, and note the verdict on it.

    What it was judged by becomes the artifact `file` of its run. Raises ValueError where today's test set is not there:
    then the version is not judged, and will be the next time.
    """
    description, name, number = task.description(), candidate.name, candidate.version
    metrics = read_json(task.paths.metrics)
    mode = read_json(task.paths.network)["training"]["mode"]
    while True:
        champion = with_alias(client, name, CHAMPION)
        if champion and str(champion.version) == number:  # another registration of it was faster
            return
        champion_version = str(champion.version) if champion else NONE
        metric = headline_metric(metrics, description)
        comparison = _compare(task, params, candidate, champion_version, metric) if champion else None
        verdict = decide(description, metrics, mode, params, comparison)
        facts = {
            "metric": metric,
            "higher_is_better": higher_is_better(metric),
            "value": metrics[metric],
            "baselines": {key: metrics[key] for key in baseline_keys(metrics, metric)},
            "comparison": asdict(comparison) if comparison else None,
            "confidence": params.register_.confidence,
            "promotion": params.register_.promotion,
            **asdict(verdict),
        }
        client.log_text(run_id, json.dumps(facts, indent=2, sort_keys=True), file)
        if verdict.decision is not Decision.CHAMPION:
            write_verdict(client, name, number, verdict)
            return
        try:
            make_champion(client, candidate, verdict.reason, champion_version=champion_version)
        except ChampionMoved:
            continue  # another registration was faster: it is the one to be compared with
        # No lock reaches another machine. Who finds its own alias taken away at once is compared with who took it.
        now = with_alias(client, name, CHAMPION)
        if now and str(now.version) == number:
            return


def decide(
    description: Description, metrics: dict[str, Any], mode: str, params: TaskParams, comparison: Comparison | None
) -> Verdict:
    """The gate's rules, in their order: baselines, `train.mode`, the champion, `register.promotion`.

    `metrics` are those of the evaluate stage; `comparison` is None where there is no champion.
    """
    metric = headline_metric(metrics, description)
    best = best_baseline(metrics, metric)
    if best is None:
        return Verdict(Decision.CHALLENGER_LOST, "no baseline was measured")
    value = metrics[metric]
    compared = f"{metric} {value:.4g} against {best[1]:.4g} of the {best[0]} baseline"
    if not (value > best[1] if higher_is_better(metric) else value < best[1]):
        return Verdict(Decision.CHALLENGER_LOST, f"does not beat its baselines ({compared})")
    if mode != "full":
        return Verdict(Decision.CHALLENGER_MODE, f"trained with train.mode {mode}, which gives no model ({compared})")
    if comparison is not None:
        compared = f"{compared}; {_beside(comparison)}"
        confidence, chance = params.register_.confidence, comparison.chance
        if chance is not None and chance < confidence and not comparison.same:
            return Verdict(
                Decision.CHALLENGER_LOST,
                f"not better than the champion with a chance of {confidence:.0%} ({compared})",
            )
    if params.register_.promotion == "approval":
        return Verdict(Decision.CHALLENGER_WAITING, f"waits for approval ({compared})")
    return Verdict(Decision.CHAMPION, compared)


def _beside(comparison: Comparison) -> str:
    ours, champions = comparison.candidate, comparison.champion
    if champions is None:
        return f"the champion before did not answer: {comparison.fault}"
    on = f"on {comparison.examples} test examples"
    if comparison.same:
        return f"{on} the same answers as version {champions.version}"
    return (
        f"{on} {ours.value:.4g} against {champions.value:.4g} of version {champions.version}, "
        f"better with a chance of {comparison.chance:.1%}"
    )


def _compare(task: Task, params: TaskParams, candidate: LoadedModel, champion_version: str, metric: str) -> Comparison:
    """Evaluate both on the same examples. Raises ValueError where there is no test set to take them from."""
    paths, limit = task.paths, params.register_.comparison_examples
    name = candidate.name
    chosen = {} if metric == task.description().metric else {"metric": metric}
    if missing := " ".join(folder.as_posix() for folder in (paths.prepared, paths.raw) if not folder.is_dir()):
        raise ValueError(
            f"{name} version {candidate.version} is not judged yet: the champion and it are compared on today's test "
            f"set, and {missing} is not here; `dvc checkout {missing}` or `dvc pull {missing}` brings it"
        )
    examples = task.comparison().examples(paths.prepared, paths.raw, limit)

    def evaluate(model: Any, version: str) -> tuple[pd.DataFrame, Scores, Evaluation]:
        # An example that one of them cannot answer counts against it, as the task's scores say.
        answers = model.predict(examples, params={"on_error": "report"})
        scores = task.comparison().scores(answers, paths.prepared, paths.raw, limit, **chosen)
        low, high = interval(scores)
        unanswered = int(answers["error"].notna().sum()) if "error" in answers else 0
        reached = Evaluation(version=version, value=scores.value(), low=low, high=high, unanswered=unanswered)
        return answers, scores, reached

    our_answers, ours, candidates = evaluate(candidate.model, candidate.version)
    champions, chance, same, fault = None, None, False, ""
    try:
        their_answers, theirs, reached = evaluate(load_model(name, champion_version), champion_version)
        chance = chance_of_being_better(ours, theirs, higher_is_better=higher_is_better(metric))
        champions, same = reached, same_answers(our_answers, their_answers)
    except Exception as error:  # it is foreign code, and may raise whatever it likes
        chance, fault = None, f"version {champion_version}: {error_line(error)}"
    return Comparison(
        examples=len(ours.statistics), candidate=candidates, champion=champions, fault=fault, chance=chance, same=same
    )


def same_answers(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Whether our answers have every column of theirs, with the same content: numbers to five digits, since other code
    may add them in another order.
    """
    import pandas as pd

    if not set(theirs.columns) <= set(ours.columns):
        return False
    try:
        pd.testing.assert_frame_equal(ours[list(theirs.columns)], theirs, check_dtype=False)
    except AssertionError:
        return False
    return True

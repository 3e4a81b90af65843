"""Which new version becomes champion: one that beats its baselines and, on today's test set, the present champion.

The two are compared as their users meet them: each loads from the registry, however old its code is, and answers the
same questions (`stages/tasks/NAME/evaluate/questions.py`). The new one is better where it is so in enough of the draws
of a paired bootstrap (`register.confidence`). One whose answers are the champion's own takes its place, too: it differs
in code or packages alone, and the newer of these are what its documentation speaks of. Where the champion cannot
answer, because its files are gone or its columns are others, the baselines decide alone: a champion that nobody can ask
must not stand in the way for ever. It is asked after the new one has answered, so that it is not taken for broken
because the store is away.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..data.files import read_json
from ..evaluation.bootstrap import chance_of_being_better, interval
from ..evaluation.report import baseline_keys, best_baseline
from ..metrics import higher_is_better
from .aliases import CHAMPION, NONE, VERDICT, Answering, ChampionMoved, load, move, reason_of, with_alias

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from ..evaluation.bootstrap import Scores
    from ..params import TaskParams
    from ..tasks.protocol import Description, Task

FILE = "gate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a version reached with today's questions: the task's metric with its 95 % interval."""

    version: str
    value: float
    low: float
    high: float
    unanswered: int  # rows that it could not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """A new version beside the champion, on the same questions."""

    questions: int
    candidate: Answered
    champion: Answered | None
    fault: str  # why the champion has no answers
    chance: float | None  # that the candidate is better, 0 to 1; None without a champion's answers
    same: bool  # whether the candidate gives all the answers that the champion gives


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a version is to become champion, and why."""

    promoted: bool
    words: str


def judge(client: MlflowClient, task: Task, params: TaskParams, answering: Answering, run_id: str, file: str) -> str:
    """Make a version the champion if it deserves it; returns why, which stands on the version from then on.

    What it was judged by becomes the artifact `file` of its run. Raises ValueError where today's test set is not there:
    then the version is not judged, and will be the next time.
    """
    description, name, number = task.description(), answering.name, answering.version
    metrics = read_json(task.paths.metrics)
    mode = read_json(task.paths.network)["training"]["mode"]
    while True:
        champion = with_alias(client, name, CHAMPION)
        before = str(champion.version) if champion else NONE
        if before == number:  # whoever made it so had no time to say why, or has said so by now
            said = client.get_model_version(name, number).tags.get(VERDICT)
            words = said or "champion: made so by a registration that was cut short"
            break
        duel = _duel(task, params, answering.model, number, before) if champion else None
        verdict = decide(description, metrics, mode, params, duel)
        words = verdict.words
        told = _facts(description, metrics, params, duel, verdict)
        client.log_text(run_id, json.dumps(told, indent=2, sort_keys=True), file)
        if not verdict.promoted:
            break
        try:
            move(client, answering, before=before, tags={VERDICT: words})
        except ChampionMoved:
            continue  # another registration was faster: it is the one to be compared with
        # No lock reaches another machine. Who finds its own alias taken away at once is compared with who took it.
        now = with_alias(client, name, CHAMPION)
        if now and str(now.version) == number:
            break
    client.set_model_version_tag(name, number, VERDICT, words)
    return words


def decide(
    description: Description, metrics: dict[str, Any], mode: str, params: TaskParams, duel: Duel | None
) -> Verdict:
    """The gate's rules, in their order: baselines, `train.mode`, the champion, `register.promotion`.

    `metrics` are those of the evaluate stage; `duel` is None where there is no champion.
    """
    metric, higher = description.metric, higher_is_better(description.metric)
    value, best = metrics[metric], best_baseline(metrics, metric)
    if best is None:
        return Verdict(promoted=False, words="challenger: no baseline was measured")
    compared = f"{metric} {value:.4g} against {best[1]:.4g} of the {best[0]} baseline"
    if not (value > best[1] if higher else value < best[1]):
        return Verdict(promoted=False, words=f"challenger: does not beat its baselines ({compared})")
    if mode != "full":
        return Verdict(
            promoted=False, words=f"challenger: trained with train.mode {mode}, which gives no model ({compared})"
        )
    if duel is not None:
        compared = f"{compared}; {_beside(duel)}"
    confidence = params.register_.confidence
    if duel is not None and duel.chance is not None and duel.chance < confidence and not duel.same:
        return Verdict(
            promoted=False,
            words=f"challenger: not better than the champion with a chance of {confidence:.0%} ({compared})",
        )
    if params.register_.promotion == "approval":
        return Verdict(promoted=False, words=f"challenger: waits for approval ({compared})")
    return Verdict(promoted=True, words=f"champion: {compared}")


def _beside(duel: Duel) -> str:
    if duel.champion is None or duel.chance is None:
        return f"the champion before could not be asked: {duel.fault}"
    ours, theirs = duel.candidate, duel.champion
    if duel.same:
        return f"on {duel.questions} questions the same answers as version {theirs.version}"
    return (
        f"on {duel.questions} questions {ours.value:.4g} against {theirs.value:.4g} of version {theirs.version}, "
        f"better with a chance of {duel.chance:.1%}"
    )


def _duel(task: Task, params: TaskParams, candidate: Any, number: str, before: str) -> Duel:
    """Ask both. Raises ValueError where there is no test set to ask from."""
    paths, limit = task.paths, params.register_.comparison_examples
    description = task.description()
    missing = [folder.as_posix() for folder in (paths.prepared, paths.raw) if not folder.is_dir()]
    if missing:
        where = " ".join(missing)
        raise ValueError(
            f"{description.model_name} version {number} is not judged yet: the champion and it are asked today's test "
            f"set, and {where} is not here; `dvc checkout {where}` or `dvc pull {where}` brings it"
        )
    questions = task.comparison().examples(paths.prepared, paths.raw, limit)

    def answered(model: Any, version: str) -> tuple[pd.DataFrame, Scores, Answered]:
        # A question that one of them cannot answer counts against it, as the task's scores say.
        answers = model.predict(questions, params={"on_error": "report"})
        scores = task.comparison().scores(answers, paths.prepared, paths.raw, limit)
        low, high = interval(scores)
        unanswered = int(answers["error"].notna().sum()) if "error" in answers else 0
        told = Answered(version=version, value=scores.value(), low=low, high=high, unanswered=unanswered)
        return answers, scores, told

    our_answers, ours, candidate_answered = answered(candidate, number)
    try:
        their_answers, theirs, champion_answered = answered(load(description.model_name, before), before)
        chance = chance_of_being_better(ours, theirs, higher_is_better=higher_is_better(description.metric))
        same = _hold(our_answers, their_answers)
    except Exception as error:  # it is foreign code, and may raise whatever it likes
        return Duel(
            questions=len(ours.statistics),
            candidate=candidate_answered,
            champion=None,
            fault=f"version {before}: {reason_of(error)}",
            chance=None,
            same=False,
        )
    return Duel(
        questions=len(ours.statistics),
        candidate=candidate_answered,
        champion=champion_answered,
        fault="",
        chance=chance,
        same=same,
    )


def _hold(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
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


def _facts(
    description: Description, metrics: dict[str, Any], params: TaskParams, duel: Duel | None, verdict: Verdict
) -> dict[str, Any]:
    """All that a verdict stands on."""
    metric = description.metric
    return {
        "metric": metric,
        "higher_is_better": higher_is_better(metric),
        "value": metrics[metric],
        "baselines": {key: metrics[key] for key in baseline_keys(metrics, metric)},
        "duel": asdict(duel) if duel else None,
        "confidence": params.register_.confidence,
        "promotion": params.register_.promotion,
        "verdict": verdict.words,
        "promoted": verdict.promoted,
    }

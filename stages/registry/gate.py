"""Which new version becomes champion: one that beats the baselines of `register.must_beat` and, on today's test set,
the present champion. Where another baseline is better than it, the reason begins with a note that says so.

The two are compared as their users meet them: each loads from the registry, however old its code is, and answers the
same test examples (`stages/tasks/NAME/evaluate/comparison.py`), none of which either has learned; of a version that was
refit, its measured network answers, since the served one has learned them all. The new one is better where it is so in
enough of the draws of a paired bootstrap (`register.confidence`) of enough examples (`register.min_examples`). One that
was refit on more of today's data than the champion's served network has learned, such as a month of new days, takes its
place unless the champion is better by the same measure: what it has learned more, no measured network shows
(`more_learned.py`). One whose answers are the champion's own takes its place, too: it differs in code alone, and the
newer of it is what its documentation describes. With the champion's own weights the baselines are not asked: they were
measured in another hour, perhaps by another judge. Where the champion cannot answer, because its files are gone or its
columns are others, the baselines decide alone: it must not stand in the way for ever. It answers after the new one has,
so that it is not taken for broken because the store is away.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..data.evenly import evenly
from ..data.files import read_json
from ..data.store import SPLITS
from ..evaluation.bootstrap import chance_of_being_better, interval
from ..evaluation.report import baseline_keys, best_baseline, format_number, headline_metric, simpler_is_better
from ..metrics import higher_is_better
from ..models.learned import Learned
from ..paths import MEASURED, SERVED
from ..progress_bar import busy
from ..provenance.hashes import content_md5, parse_signature
from .champion import (
    NONE,
    WEIGHTS,
    ChampionMoved,
    LoadedModel,
    error_line,
    learned_by,
    load_model,
    make_champion,
    with_alias,
)
from .decision import CHAMPION, Decision, Verdict, facts, overrides, write_verdict
from .more_learned import MoreLearned, more_learned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pandas as pd
    from mlflow import MlflowClient

    from ..evaluation.bootstrap import Scores
    from ..params import RegisterParams, TaskParams
    from ..tasks.protocol import Description, Task

FILE = "gate.json"

LoadModel: TypeAlias = "Callable[[], Any]"  # an MLflow model, or what answers `predict(frame, params=…)` like one


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

    examples: int  # that they were asked
    new: int  # of the test split, that neither has learned from
    total: int  # of the test split
    unknown: tuple[str, ...] = ()  # versions that do not say what they have learned from: older code has made them
    more_learned: MoreLearned | None = None  # by a candidate that was refit, than by the champion's served network
    candidate: Evaluation | None  # None where there is no example
    champion: Evaluation | None
    fault: str  # why the champion has no answers
    chance: float | None  # that the candidate is better, 0 to 1; None without a champion's answers
    same: bool  # whether the candidate gives all the answers that the champion gives
    same_weights: bool  # whether the two differ in code, or in the defaults of predict's params, alone


def judge(client: MlflowClient, task: Task, params: TaskParams, candidate: LoadedModel, run_id: str, file: str) -> None:
    """Make a version the champion if it deserves it, and note the verdict on it.

    What it was judged by becomes the artifact `file` of its run. Raises ValueError where today's test set is not there:
    then the version is not judged, and will be the next time.
    """
    description, name, number = task.description(), candidate.name, candidate.version
    metrics = read_json(task.paths.metrics)
    metric = headline_metric(metrics, description)
    mode = read_json(task.paths.network)["training"]["mode"]
    while True:
        champion = with_alias(client, name, CHAMPION)
        if champion and str(champion.version) == number:  # another registration of it was faster
            return
        champion_version = str(champion.version) if champion else NONE
        comparison = None
        if champion:
            same_weights = facts(champion).get(WEIGHTS) == content_md5(task.paths.weights)
            comparison = _compare(task, params, metric, candidate, champion_version, same_weights=same_weights)
        verdict = decide(description, metrics, mode, params, comparison)
        if alone := overrides():
            reason = (
                f"trained with params set for this run only ({alone}); a person may promote it. "
                f"The gate's verdict: {verdict}"
            )
            verdict = Verdict(Decision.CHALLENGER_OVERRIDES, reason)
        judged_by = {
            "metric": metric,
            "higher_is_better": higher_is_better(metric),
            "value": metrics[metric],
            "baselines": {key: metrics[key] for key in baseline_keys(metrics, metric)},
            "comparison": asdict(comparison) if comparison else None,
            **params.register_.model_dump(include={"confidence", "min_examples", "must_beat", "promotion"}),
            **asdict(verdict),
        }
        client.log_text(run_id, json.dumps(judged_by, indent=2, sort_keys=True), file)
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
    """The gate's rules, in their order: `register.must_beat`, `train.mode`, enough examples, the champion,
    `register.promotion`.

    `metrics` are those of the evaluate stage; `comparison` is None where there is no champion.
    """
    metric, register = headline_metric(metrics, description), params.register_
    must_beat = params.must_beat()
    best = best_baseline(metrics, metric, must_beat)
    answered = comparison is not None and comparison.champion is not None
    own_weights = answered and comparison is not None and comparison.same_weights
    if best is None:
        return Verdict(Decision.CHALLENGER_LOST, "no baseline was measured")
    missing = [name for name in must_beat if f"baseline_{name}_{metric}" not in metrics]
    if missing and not own_weights:
        return Verdict(Decision.CHALLENGER_LOST, f"{metric} was not measured for the baseline {' and '.join(missing)}")
    value = metrics[metric]
    found = f"{metric} {value:.4g} against {best[1]:.4g} of the {best[0]} baseline"
    hardest = best_baseline(metrics, metric)
    if hardest and hardest != best and simpler_is_better(metrics, metric):
        more = "higher" if higher_is_better(metric) else "lower"
        numbers = f"{format_number(hardest[1], like=value)} against {format_number(value)}"
        note = f"{hardest[0]}, which is not in register.must_beat, has a {more} {metric}: {numbers}"
        found = f"note: {note}; {found}"
    elif hardest and hardest != best:
        found += " (the best of register.must_beat)"
    if not own_weights and not (value > best[1] if higher_is_better(metric) else value < best[1]):
        return Verdict(Decision.CHALLENGER_LOST, f"does not beat its baselines ({found})")
    if mode != "full":
        return Verdict(Decision.CHALLENGER_MODE, f"trained with train.mode {mode}, so it is no usable model ({found})")
    lost = ""
    if comparison is not None:
        lost, won = _against(comparison, register)
        found = _beside(comparison) if own_weights else f"{found}; {won}{_beside(comparison)}"
    if comparison is not None and (answered or not comparison.examples):
        if comparison.examples < register.min_examples and not (own_weights and comparison.same):
            few = f"{comparison.examples} examples to compare on; register.min_examples is {register.min_examples}"
            return Verdict(Decision.CHALLENGER_FEW_EXAMPLES, f"{few} ({found})")
        if lost:
            return Verdict(Decision.CHALLENGER_LOST, f"{lost} ({found})")
    elif (measured := int(parse_signature(metrics["signature"])["n"])) < register.min_examples:
        found = f"{found}; measured on only {measured} examples; register.min_examples is {register.min_examples}"
    if register.promotion == "approval":
        return Verdict(Decision.CHALLENGER_WAITING, f"waits for approval ({found})")
    return Verdict(Decision.CHAMPION, found)


def _against(comparison: Comparison, register: RegisterParams) -> tuple[str, str]:
    """Why a candidate loses to the champion, empty where it does not; and, where it wins without being better, why."""
    chance, more = comparison.chance, comparison.more_learned
    if chance is None or comparison.same or chance >= register.confidence:
        return "", ""
    if more is None:
        return f"not better than the champion (register.confidence: {register.confidence:.0%})", ""
    if 1 - chance >= register.confidence:
        return f"{more}, but is worse than the champion (register.confidence: {register.confidence:.0%})", ""
    return "", f"{more}; not worse: "


def _beside(comparison: Comparison) -> str:
    ours, champions = comparison.candidate, comparison.champion
    on = f"on {comparison.examples} test examples"
    if comparison.new < comparison.total:
        of = f" of {comparison.new}" if comparison.examples < comparison.new else ""
        on += f"{of} that neither has learned from, out of {comparison.total},"
    if ours is None:
        return f"no comparison: one of the two has learned from each of the {comparison.total} test examples"
    if champions is None:
        return f"the previous champion did not answer: {comparison.fault}"
    if comparison.unknown:
        unknown = " and version ".join(comparison.unknown)
        on += f" (version {unknown} may have learned from them; no record says)"
    if comparison.same:
        weights = "the same weights and " if comparison.same_weights else ""
        return f"{weights}{on} the same answers as version {champions.version}"
    return (
        f"{on} {ours.value:.4g} against {champions.value:.4g} of version {champions.version}, "
        f"better with a chance of {comparison.chance:.1%}"
    )


def _compare(
    task: Task, params: TaskParams, metric: str, candidate: LoadedModel, champion_version: str, *, same_weights: bool
) -> Comparison:
    """Evaluate both on the same examples. Raises ValueError where there is no test set to take them from."""
    name, number = candidate.name, candidate.version
    if missing := " ".join(path.as_posix() for path in (task.paths.prepared, task.paths.raw) if not path.is_dir()):
        raise ValueError(
            f"{name} version {number} is not judged yet: comparing it with the champion needs today's test set, and "
            f"{missing} is missing; run `dvc checkout {missing}` or `dvc pull {missing}`"
        )
    fault, learned = "", {number: Learned.load(task.paths.measured)}
    ours = today = more = None
    if refit := task.paths.served.is_dir():
        ours, today = Learned.load(task.paths.served), task.model().learned(task.paths.prepared, SPLITS)
    try:
        learned[champion_version] = learned_by(task, name, champion_version)
        if refit:
            more = more_learned(ours, learned_by(task, name, champion_version, SERVED), today)
    except Exception as error:  # its files are foreign, too
        fault = f"version {champion_version}: {error_line(error)}"
    known = list(filter(None, learned.values()))
    limit = params.register_.comparison_examples
    questions = Questions.of(task, task.paths.prepared, task.paths.raw, metric, known, limit)
    compared = compare(
        questions,
        (number, lambda: load_model(name, number, MEASURED) if refit else candidate.model),
        (champion_version, lambda: load_model(name, champion_version, MEASURED)),
        fault=fault,
        same_weights=same_weights,
    )
    unknown = tuple(version for version, known in learned.items() if known is None)
    return replace(compared, unknown=unknown, more_learned=more)


def compare(
    questions: Questions,
    candidate: tuple[str, LoadModel],
    champion: tuple[str, LoadModel],
    *,
    fault: str,
    same_weights: bool,
) -> Comparison:
    """Ask two versions, each given by its number and how it is loaded, the same questions.

    With a `fault`, the champion is not asked. A candidate that cannot answer raises whatever it raises.
    """
    ours = theirs = chance = None
    same = False
    if questions.rows is None:
        fault = "every test example was used to train one of the two"
    else:
        ours = questions.ask(candidate[1](), candidate[0])
    if ours and not fault:
        try:
            theirs = questions.ask(champion[1](), champion[0])
            more = higher_is_better(questions.metric)
            chance = chance_of_being_better(ours.scores, theirs.scores, higher_is_better=more)
            same = same_answers(ours.answers, theirs.answers)
        except Exception as error:  # it is foreign code, and may raise whatever it likes
            theirs, fault = None, f"version {champion[0]}: {error_line(error)}"
    return Comparison(
        examples=len(questions.chosen),
        new=questions.new,
        total=questions.total,
        candidate=ours.evaluation if ours else None,
        champion=theirs.evaluation if theirs else None,
        fault=fault,
        chance=chance,
        same=same,
        same_weights=same_weights,
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """What a version answered, and what that is worth."""

    answers: pd.DataFrame
    scores: Scores
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Questions:
    """Test examples that versions can be compared on."""

    task: Task
    prepared: Path
    raw: Path
    metric: str
    chosen: np.ndarray  # numbers of those that are asked, evenly over the new ones and always the same
    new: int  # that no version has learned from
    total: int
    rows: pd.DataFrame | None  # those that are asked; None where there is none

    @staticmethod
    def of(task: Task, prepared: Path, raw: Path, metric: str, learned: Sequence[Learned], limit: int) -> Questions:
        """Up to `limit` of the test examples in `prepared`, which was made of `raw`, that are in none of `learned`."""
        comparison = task.comparison()
        identities = comparison.identities(prepared)
        new = np.ones(limit if identities is None else len(identities.ids), dtype=bool)
        if identities is not None:
            for known in learned:
                new &= ~known.may_hold(identities)
        places = np.flatnonzero(new)
        chosen = places[evenly(len(places), limit)]
        rows = comparison.examples(prepared, raw, chosen) if len(chosen) else None
        return Questions(task, prepared, raw, metric, chosen, len(places), len(new), rows)

    def ask(self, model: Any, version: str) -> Answered:
        """Have a loaded version answer. What it cannot answer counts against it, as the task's scores say."""
        description, examples = self.task.description(), len(self.chosen)
        with busy(f"{description.model_name} version {version} answers {examples:,} test examples"):
            assert self.rows is not None
            # Without the columns that only other versions take, of which MLflow would warn.
            columns = [name for name in model.metadata.get_input_schema().input_names() if name in self.rows]
            answers = model.predict(self.rows[columns], params={"on_error": "report"})
        # Only where it is another than the task's own.
        other = {} if self.metric == description.metric else {"metric": self.metric}
        scores = self.task.comparison().scores(answers, self.prepared, self.raw, self.chosen, **other)
        low, high = interval(scores)
        unanswered = int(answers["error"].notna().sum()) if "error" in answers else 0
        reached = Evaluation(version=version, value=scores.value(), low=low, high=high, unanswered=unanswered)
        return Answered(answers, scores, reached)


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

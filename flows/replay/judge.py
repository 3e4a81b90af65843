"""The registry's gate on snapshots: a candidate beside its baselines and the day's champion, on that day's test set.

Where `register.promotion` asks for a person, the gate's word is taken for theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from stages.data.files import read_json
from stages.data.store import SPLITS
from stages.evaluation.report import headline_metric
from stages.models.learned import Learned
from stages.params import TaskParams
from stages.paths import MEASURED, SERVED, network_folder
from stages.registry.decision import Decision, Verdict
from stages.registry.gate import Questions, compare, decide
from stages.registry.more_learned import MoreLearned, more_learned
from stages.tasks.forecast.data.series import calendar_date
from stages.tasks.protocol import Task

from .snapshot import Snapshot
from .train_snapshot import with_quick_baselines
from .trainings import Training

if TYPE_CHECKING:
    import pandas as pd

Promotion = Literal["gate", "always"]


@dataclass(frozen=True, slots=True)
class Gate:
    """Judges as `registry.gate` does; with `always`, whatever is trained becomes champion."""

    task: Task
    params: TaskParams
    promotion: Promotion

    def __call__(self, snapshot: Snapshot, candidate: Training, champion: Training | None) -> Verdict:
        if self.promotion == "always":
            return Verdict(Decision.CHAMPION, "every training is promoted")
        task, description = self.task, self.task.description()
        metrics = read_json(candidate.folder / task.paths.metrics)
        comparison = None
        if champion is not None:
            learned = [Learned.load(network_folder(one.weights, MEASURED)) for one in (candidate, champion)]
            questions = Questions.of(
                task,
                snapshot.prepared,
                snapshot.raw,
                headline_metric(metrics, description),
                [known for known in learned if known],
                self.params.register_.comparison_examples,
            )
            named = [(str(calendar_date(one.day)), partial(_measured, task, one)) for one in (candidate, champion)]
            same = candidate.signature == champion.signature
            compared = compare(questions, named[0], named[1], fault="", same_weights=same)
            comparison = replace(compared, more_learned=self._more_learned(snapshot, candidate, champion))
        params = with_quick_baselines(self.params)
        register = params.register_.model_copy(update={"promotion": "automatic"})
        params = params.model_copy(update={"register_": register})
        return decide(description, metrics, params.train.mode, params, comparison)

    def _more_learned(self, snapshot: Snapshot, candidate: Training, champion: Training) -> MoreLearned | None:
        """What the candidate has learned more, where it was refit."""
        if not (candidate.weights / SERVED).is_dir():
            return None
        ours, theirs = (Learned.load(network_folder(one.weights, SERVED)) for one in (candidate, champion))
        return more_learned(ours, theirs, self.task.model().learned(snapshot.prepared, SPLITS))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A predictor that is asked as MLflow's models are."""

    predictor: Any

    def predict(self, rows: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        answers: pd.DataFrame = self.predictor.predict(rows, **params)
        return answers


def _measured(task: Task, training: Training) -> _Asked:
    """The network of a training that its metrics speak of."""
    return _Asked(task.predictor()(network_folder(training.weights, MEASURED)))

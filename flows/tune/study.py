"""A study: which params a search tries, and what came of them, kept on disk so that a search can go on.

Trial by trial, what is drawn is a function of the study's seed, the trial's number and the values of the trials before
it: with one trial at a time, two studies of a seed are equal, also where one of them was stopped in between.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from .compat import running_trial
from .space import Dimension, assignment, grid

optuna.logging.set_verbosity(optuna.logging.WARNING)

Method = Literal["tpe", "random", "grid"]
FinalState = Literal["complete", "pruned", "failed"]

# Optuna's MedianPruner: a trial ends when its best value so far is worse than the median of what the finished trials
# had at that epoch. The first trials run to their end, so that there is a median, and no trial ends in its first
# epochs, which say little.
_UNPRUNED_TRIALS = 4
_UNPRUNED_EPOCHS = 3

_DUPLICATE_OF = "twin_of"  # under this name in the files of studies
_STATES: dict[FinalState, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_NAMES = {state: name for name, state in _STATES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A trial that is to be run: its number, and the value of each param."""

    number: int
    values: dict[str, Any]

    def assignments(self) -> list[str]:
        """The values as `stages.recipe.override` reads them."""
        return [assignment(key, value) for key, value in self.values.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A trial as the table shows it."""

    number: int
    values: dict[str, Any]
    state: str  # complete, pruned, failed or running
    objective: float | None
    epochs: int
    message: str  # why it failed or was pruned, or which trial it repeats
    signature: str  # of its training; empty where none was finished
    duplicate_of: int | None  # the number of an earlier trial with the same params, whose result this one has


class Study:
    """A study in a file, for this process alone; see `flows.execution.locks`. May be used from several threads."""

    def __init__(
        self, file: Path, dimensions: Sequence[Dimension], *, method: Method, seed: int, minimise: bool, prune: bool
    ) -> None:
        self.dimensions = dimensions
        self._method = method
        self._seed = seed
        self._grid = grid(dimensions) if method == "grid" else []
        self._mutex = threading.RLock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(file), lock_obj=_NoLock(str(file)))),
            study_name=file.stem,
            direction="minimize" if minimise else "maximize",
            pruner=_pruner(prune),
            load_if_exists=True,
        )
        self._trials: dict[int, Trial] = {}
        self._interrupted = [t.number for t in self._study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]

    @property
    def minimise(self) -> bool:
        """Whether less of the objective is better."""
        return self._study.direction == StudyDirection.MINIMIZE

    def ask(self, trials: int) -> Suggestion | None:
        """The next trial to run, or None where the study has `trials` of them; interrupted ones come first.

        A trial with the params of an earlier one is not run: it has that one's result as soon as that is known.
        """
        with self._mutex:
            while (trial := self._next(trials)) is not None:
                values = {one.key: one.suggest(trial) for one in self.dimensions}
                self._trials[trial.number] = trial
                original = self._original(trial.number, values)
                if original is None:
                    return Suggestion(number=trial.number, values=values)
                trial.set_user_attr(_DUPLICATE_OF, original.number)
                if original.state.is_finished():
                    self._copy(original, trial.number)
            return None

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Note a trial's objective after an epoch; returns whether it should be pruned, now or after one before."""
        with self._mutex:
            trial, frozen = self._trials[number], self._frozen(number)
            if frozen.user_attrs.get("pruned"):
                return True
            if epoch in frozen.intermediate_values:
                return False
            trial.report(value, epoch)
            pruned = trial.should_prune()
            if pruned:
                trial.set_user_attr("pruned", True)
            return pruned

    def tell(
        self,
        number: int,
        state: FinalState,
        *,
        objective: float | None = None,
        epochs: int | None = None,
        signature: str = "",
        message: str = "",
    ) -> None:
        """Note how a trial ended; see `TrialRecord`. Where it was pruned, its best value so far counts."""
        with self._mutex:
            for name, fact in {"epochs": epochs, "signature": signature, "message": message}.items():
                if fact:
                    self._trials[number].set_user_attr(name, fact)
            self._tell(number, state, objective)
            original = self._frozen(number)
            for other in self._all():
                if other.user_attrs.get(_DUPLICATE_OF) == number and not other.state.is_finished():
                    self._copy(original, other.number)

    def reported(self, number: int) -> dict[int, float]:
        """The objective of a trial by epoch, as far as it was reported."""
        with self._mutex:
            return dict(self._frozen(number).intermediate_values)

    def records(self) -> list[TrialRecord]:
        """All trials so far, by number."""
        with self._mutex:
            return [self._record(trial) for trial in self._all()]

    def best(self) -> TrialRecord | None:
        """The complete trial with the best objective; of equal ones the first."""
        complete = [one for one in self.records() if one.state == "complete" and one.objective is not None]
        sign = 1 if self.minimise else -1
        return min(complete, key=lambda one: (sign * (one.objective or 0.0), one.number), default=None)

    def is_finished(self, number: int) -> bool:
        """Whether the study knows how a trial ended."""
        with self._mutex:
            return self._frozen(number).state.is_finished()

    def _all(self) -> list[FrozenTrial]:
        return [t for t in self._study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _next(self, trials: int) -> Trial | None:
        if self._interrupted:
            frozen = self._frozen(self._interrupted.pop(0))
            self._study.sampler = self._sampler(frozen.number)
            return running_trial(self._study, frozen)
        known = self._study.get_trials(deepcopy=False)
        number = len(self._all())
        if number >= (min(trials, len(self._grid)) if self._grid else trials):
            return None
        if self._grid and len(known) == number:  # else it waits since an earlier process
            self._study.enqueue_trial(self._grid[number])
        self._study.sampler = self._sampler(number)
        return self._study.ask()

    def _sampler(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        return TPESampler(seed=seed) if self._method == "tpe" else RandomSampler(seed=seed)

    def _original(self, number: int, values: dict[str, Any]) -> FrozenTrial | None:
        """The first trial before this one that has the same values."""
        wanted = json.dumps(values)
        return next((other for other in self._all()[:number] if json.dumps(self._read(other)) == wanted), None)

    def _copy(self, original: FrozenTrial, number: int) -> None:
        """End a duplicate as the original has ended."""
        duplicate = self._trials[number]
        for name in ("epochs", "signature"):
            if name in original.user_attrs:
                duplicate.set_user_attr(name, original.user_attrs[name])
        duplicate.set_user_attr("message", f"the params of trial {original.number}")
        state = _NAMES[original.state]
        if state == "pruned":
            for epoch, value in original.intermediate_values.items():
                duplicate.report(value, epoch)
        self._tell(number, state, original.value)

    def _tell(self, number: int, state: FinalState, objective: float | None) -> None:
        self._study.tell(number, objective if state == "complete" else None, state=_STATES[state])

    def _read(self, trial: FrozenTrial) -> dict[str, Any]:
        """The values of a trial, as they stood in params.yaml."""
        drawn: Any = optuna.trial.FixedTrial(trial.params)
        return {one.key: one.suggest(drawn) for one in self.dimensions if one.key in trial.params}

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        state = _NAMES.get(trial.state, "running")
        objective = trial.value if state == "complete" else None
        finite = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
        if state == "pruned" and finite:
            objective = min(finite) if self.minimise else max(finite)
        return TrialRecord(
            number=trial.number,
            values=self._read(trial),
            state=state,
            objective=objective,
            epochs=trial.user_attrs.get("epochs", len(trial.intermediate_values)),
            message=trial.user_attrs.get("message", ""),
            signature=trial.user_attrs.get("signature", ""),
            duplicate_of=trial.user_attrs.get(_DUPLICATE_OF),
        )


class _NoLock(JournalFileSymlinkLock):
    """Optuna's lock would outlive a killed process, and one process alone has the study anyway."""

    def acquire(self) -> bool:
        """At once."""
        return True

    def release(self) -> None:
        """Nothing was taken."""


def _pruner(prune: bool) -> BasePruner:
    return MedianPruner(n_startup_trials=_UNPRUNED_TRIALS, n_warmup_steps=_UNPRUNED_EPOCHS) if prune else NopPruner()

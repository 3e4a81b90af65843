"""What flows use of DVC and Optuna beyond their public API is still there. After an update that fails here, see whether
`flows/compat.py` and `flows/tune/compat.py` still do what they say, and note the new version there.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import dvc.stage.cache
import optuna
import pytest
from dvc.repo import Repo
from dvc.stage.cache import StageCache
from dvc.stage.loader import StageLoader

import flows.compat
import flows.tune.compat


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (Repo.__init__, ["_wait_for_lock"]),
        (getattr(StageCache, "_load", None), ["stage"]),
        (getattr(dvc.stage.cache, "_can_hash", None), ["stage"]),
        (StageLoader.fill_from_lock, ["stage", "lock_data"]),
    ],
)
def test_dvc_has_what_is_called(function: Any, parameters: list[str]) -> None:
    tried = f"tried with DVC {flows.compat.TRIED_WITH}, installed is {version('dvc')}"
    assert function is not None, tried
    assert set(parameters) <= inspect.signature(function).parameters.keys(), tried


def test_optuna_goes_on_with_a_trial_of_an_earlier_process() -> None:
    tried = f"tried with Optuna {flows.tune.compat.TRIED_WITH}, installed is {version('optuna')}"
    study = optuna.create_study()
    begun = study.ask()
    value = begun.suggest_float("x", 0, 1)
    (frozen,) = study.get_trials()
    assert hasattr(frozen, "_trial_id"), tried
    trial = flows.tune.compat.running_trial(study, frozen)
    assert (trial.number, trial.suggest_float("x", 0, 1)) == (begun.number, value), tried
    study.tell(trial, 1.0)
    assert study.best_trial.number == begun.number, tried

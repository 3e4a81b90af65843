"""What flows use of DVC and Optuna beyond their public API is still there. After an update that fails here, see whether
`flows/compat.py` and `flows/tune/compat.py` still do what they say, and note the new version there.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dvc.stage.cache
import dvc.utils.serialize
import optuna
import pytest
from dvc.data_cloud import DataCloud
from dvc.dependency.param import read_param_file
from dvc.fs import LocalFileSystem
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
        (dvc.utils.serialize.load_path, ["fs"]),
        (DataCloud.get_remote_odb, []),
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


def test_params_are_what_dvc_reads_and_an_edit_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("a: {rate: 1e-3, kinds: [x, y], none: }\nb: 2\n")
    system = LocalFileSystem()
    files = flows.compat.ParamsFiles()

    def dep(*keys: str) -> Any:
        return SimpleNamespace(fs_path=str(file), params=list(keys), repo=SimpleNamespace(fs=system))

    for keys in (("a", "b"), ("a.rate", "a.none", "c"), ()):
        assert files.read(dep(*keys)) == read_param_file(system, str(file), list(keys), flatten=True)
    assert files.read(dep("a.rate")) == {"a.rate": 0.001}
    file.write_text("a: {rate: 2}\n")
    assert files.read(dep("a.rate", "b")) == {"a.rate": 2}
    file.unlink()
    assert files.read(dep("a")) == {}

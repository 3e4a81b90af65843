"""What all trials of a study start from, settled before the first one and kept for when the study goes on."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from prefect import get_run_logger
from pydantic import BaseModel, Field

from stages.metrics import higher_is_better
from stages.params import load
from stages.params_yaml import PARAMS_FILE, ParamsError, read

from ..execution.experiment import check_out, experiment
from ..execution.locks import StoppedError
from ..execution.stage import Checkout
from ..execution.states import summary
from ..execution.worktree import keep_tree, read_file, snapshot
from ..options import Verb
from ..pipeline import run_pipeline
from .space import Dimension, SearchError, check, is_below
from .trial import UnfinishedError

if TYPE_CHECKING:
    from .options import TuneOptions

_FILE = "begun.json"


class StudySnapshot(BaseModel):
    """What the trials of a study have in common."""

    identity: dict[str, Any] = Field(alias="asked_for")  # the options that make the study what it is
    tree: str  # git's tree of the files that the trials run with
    monitor: str  # the validation metric that training monitors


def study_snapshot(
    options: TuneOptions, dimensions: Sequence[Dimension], folder: Path, stop: threading.Event
) -> StudySnapshot:
    """Files and dvc.lock as a tree of git's, with the overrides and with the stages that all trials have in common.

    The stages that no searched param touches are brought up to date here, once. `folder` is the study's; a study that
    goes on gets what was kept there. Raises SearchError and ParamsError for a search that cannot be done, or not under
    this name.
    """
    file = folder / _FILE
    if file.is_file():
        begun = StudySnapshot.model_validate_json(file.read_text(encoding="utf-8"))
        _check_same(folder.name, begun.identity, options.identity())
        _check_params(folder.name, begun.tree)
        get_run_logger().info("the study %s continues with the files from when it began", folder.name)
        return begun
    new = _new_snapshot(options, dimensions, folder.name, stop)
    temporary = file.with_suffix(".partial")
    temporary.write_text(new.model_dump_json(indent=2, by_alias=True), encoding="utf-8")
    temporary.replace(file)
    return new


def _new_snapshot(
    options: TuneOptions, dimensions: Sequence[Dimension], study: str, stop: threading.Event
) -> StudySnapshot:
    with experiment(Path(), options.overrides) as base:
        checkout = Checkout(base, stop=stop)
        pipeline = checkout.pipeline
        names = pipeline.needed([f"train@{options.task}"])
        params = read(base / PARAMS_FILE)
        monitor = params[options.task]["train"]["monitor"]
        try:
            higher_is_better(monitor)
        except ValueError as error:
            raise SearchError(f"{options.task}.train.monitor: {error}") from None
        check(dimensions, params, [key for name in names for key in pipeline.params(name)])

        def is_searched(name: str) -> bool:
            return any(is_below(one.key, key) for one in dimensions for key in pipeline.params(name))

        common = [name for name in names if not any(map(is_searched, pipeline.needed([name])))]
        if common:
            check_out(checkout, common)
            last = cast(Verb, common[-1].partition("@")[0])
            states = run_pipeline(checkout, options.of_a_trial(last))
            if stop.is_set():
                raise StoppedError("stopped before the first trial")
            if not all(state.is_completed() for state in states.values()):
                raise UnfinishedError(str(summary(states).message))
        tree = snapshot(base)
    keep_tree(Path(), study, tree)
    return StudySnapshot(asked_for=options.identity(), tree=tree, monitor=monitor)


def _check_params(study: str, tree: str) -> None:
    """Raise SearchError where the files of a study hold params that this code no longer reads, before any trial."""
    with TemporaryDirectory() as folder:
        file = Path(folder, PARAMS_FILE.name)
        file.write_text(read_file(Path(), tree, PARAMS_FILE), encoding="utf-8")
        try:
            load(file)
        except ParamsError as error:
            mistake = str(error).splitlines()[0].removeprefix(f"{file}: ")
            raise SearchError(
                f"study {study}: its params.yaml is no longer valid: {mistake}; allowed: another name"
            ) from None


def _check_same(study: str, begun: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    for key, value in present.items():
        if begun[key] != value:
            raise SearchError(
                f"study {study}: begun with {key} {begun[key]!r}; found {value!r}; "
                "allowed: the same value, or another name"
            )

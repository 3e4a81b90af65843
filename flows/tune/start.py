"""What a study is, settled before its first trial and kept for when it goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger

from stages.params import PARAMS_FILE, read

from ..execution.experiment import experiment, lay_out
from ..execution.locks import StoppedError
from ..execution.stage import Checkout
from ..execution.worktree import keep_tree, snapshot
from ..pipeline import run_pipeline, summary
from .space import Dimension, SearchError, check
from .trial import UnfinishedError

if TYPE_CHECKING:
    from .options import Choice

_FILE = "begun.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the trials of a study have in common."""

    asked_for: Mapping[str, Any]  # the part of the form that makes it what it is
    tree: str  # git's tree of the files that the trials run with
    monitor: str  # the validation metric that training monitors


def start_of(choice: Choice, dimensions: Sequence[Dimension], folder: Path, stop: threading.Event) -> Start:
    """What all trials start from: files and dvc.lock as a tree of git's, with the overrides and the stages in common.

    Those that no searched param touches are brought up to date here, once; a trial finds them done. `folder` is the
    study's. Raises SearchError and ParamsError for a search that cannot be done, or not under this name.
    """
    file = folder / _FILE
    if file.is_file():
        begun = Start(**json.loads(file.read_text(encoding="utf-8")))
        _refuse_other(folder.name, begun.asked_for, choice.asked_for())
        get_run_logger().info("the study %s goes on, with the files as they were when it began", folder.name)
        return begun
    with experiment(Path(), choice.overrides) as base:
        checkout = Checkout(base)
        graph = checkout.pipeline
        names = graph.needed([f"train@{choice.task}"])
        params = read(base / PARAMS_FILE)
        check(dimensions, params, [key for name in names for key in graph.params(name)])
        touched = {name for name in names if _reads(graph.params(name), dimensions)}
        common = [name for name in names if not touched & set(graph.needed([name]))]
        if common:
            lay_out(checkout, common, stop=stop)
            verb = common[-1].partition("@")[0]
            states = run_pipeline(checkout, choice.stages(verb), stop=stop)  # type: ignore[arg-type]
            if stop.is_set():
                raise StoppedError("stopped before the first trial")
            if not all(state.is_completed() for state in states.values()):
                raise UnfinishedError(str(summary(states).message))
        tree = snapshot(base)
    keep_tree(Path(), folder.name, tree)
    begun = Start(asked_for=choice.asked_for(), tree=tree, monitor=params[choice.task]["train"]["monitor"])
    temporary = file.with_suffix(".partial")
    temporary.write_text(json.dumps(asdict(begun), indent=2), encoding="utf-8")
    temporary.replace(file)
    return begun


def _reads(keys: Sequence[str], dimensions: Sequence[Dimension]) -> bool:
    return any(f"{one.key}.".startswith(f"{key}.") for one in dimensions for key in keys)


def _refuse_other(name: str, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    for key, value in asked.items():
        if begun[key] != value:
            raise SearchError(
                f"study {name}: begun with {key} {begun[key]!r}; found {value!r}; allowed: the same, or another name"
            )

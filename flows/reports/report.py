"""What a run of the pipeline came to, as artifacts of the flow run: metrics against the champion, pictures, links.

The registry is asked by a process beside the flow (`stages.registry.status`), which also sees to it that the registry
has all that it should. Nothing here can fail a run: what cannot be told is a line in the log.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from stages.data.files import read_json
from stages.registry.status import RegistryStatus
from stages.tasks.protocol import Task

from ..dag import Decision
from . import pictures
from .registry_process import registry_process
from .tables import Reached, links_table, metrics_table

MLFLOW_UI = "UNROLL_MLFLOW_UI"  # address of MLflow's pages, where there are any


class Reporter:
    """Reports on one checkout, inside a flow.

        with Reporter(root, stop=stop) as report:
            …
            report.finish(states)

    Opened as early as may be, since what asks the registry takes seconds to start.
    """

    def __init__(self, root: Path, *, stop: threading.Event) -> None:
        self._root = root
        self._stop = stop

    def __enter__(self) -> Self:
        self._registry = registry_process(self._root)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._registry.end()

    def expect(self, decisions: Sequence[Decision]) -> None:
        """Ask the registry at once where nothing will run that could change its answer."""
        if all(decision.verdict == "cached" for decision in decisions):
            self._registry.ask()

    def finish(self, states: Mapping[str, State[Any]]) -> None:
        """Make the artifacts of the tasks whose stages have ended in these states."""
        log = get_run_logger()
        try:
            self._registry.ask()
            self._show_pictures(states)
            found = self._registry.answer(self._stop)
            if self._stop.is_set():
                return
            if isinstance(found, str):
                log.warning("no word from the registry: %s", found)
            else:
                self._warn(found, states)
            models = {} if isinstance(found, str) else found.models
            reached = [
                Reached(task=task, metrics=read_json(path), model=models.get(task.name))
                for task in map(Task, tasks_of(states))
                if ended_well(states, "evaluate", task.name) and (path := self._root / task.paths.metrics).is_file()
            ]
            if reached:
                create_markdown_artifact(metrics_table(reached), key="metrics", description="Metrics of the test split")
            if (ui := os.environ.get(MLFLOW_UI)) and (text := links_table(models, tasks_of(states), ui)):
                create_markdown_artifact(text, key="links", description="Pages of MLflow")
        except Exception as error:  # a report that fails must not fail the work that it reports on
            log.warning("the report is not whole: %s: %s", type(error).__name__, error)

    def _warn(self, found: RegistryStatus, states: Mapping[str, State[Any]]) -> None:
        """Tell what `sync` said; a warning where the registry lacks what this run should have brought there."""
        log = get_run_logger()
        for line in found.notes:
            log.debug("registry: %s", line)
        if found.fault:
            log.warning("the registry could not be checked: %s", found.fault)
        for name in tasks_of(states):
            model = found.models.get(name)
            if model and model.has_receipt and not model.here and ended_well(states, "register", name):
                log.warning("%s: the registry has no version of these outputs: dvc repro register@%s", name, name)

    def _show_pictures(self, states: Mapping[str, State[Any]]) -> None:
        """Those of tasks in which a stage ran: of the others, an earlier run shows the same."""
        for name in tasks_of(states):
            paths = Task(name).paths
            if all(state.name == "Cached" for stage, state in states.items() if stage.endswith(f"@{name}")):
                continue
            text = pictures.of_folder(
                self._root / paths.learning_curve if ended_well(states, "train", name) else None,
                self._root / paths.evaluation / "pictures" if ended_well(states, "evaluate", name) else None,
            )
            if text:
                create_markdown_artifact(text, key=f"pictures-{name}", description=f"What {name} learned and answers")


def tasks_of(states: Mapping[str, State[Any]]) -> tuple[str, ...]:
    """The tasks whose stages these are, in their order."""
    return tuple(dict.fromkeys(name.partition("@")[2] for name in states))


def ended_well(states: Mapping[str, State[Any]], verb: str, task: str) -> bool:
    """Whether the run brought this stage up to date."""
    state = states.get(f"{verb}@{task}")
    return state is not None and state.is_completed()

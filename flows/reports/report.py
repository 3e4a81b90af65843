"""What a run of the pipeline achieved, as artifacts of the flow run: metrics against the champion, pictures, links.

A process beside the flow (`stages.registry.status`) asks the registry, and registers what is missing there. Nothing
here can fail a run: what cannot be shown is a line in the log.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from stages.data.files import read_json
from stages.progress_bar import busy
from stages.registry.status import ModelStatus, RegistryStatus
from stages.tasks.protocol import Task

from ..dag import PlannedStage
from . import pictures
from .registry_process import registry_process
from .tables import TaskResult, links_table, metrics_table

MLFLOW_UI = "UNROLL_MLFLOW_UI"  # address of MLflow's pages, where there are any


class Reporter:
    """Reports on one checkout, inside a flow.

        with Reporter(root, stop=stop) as report:
            …
            report.finish(states)

    Open it as early as possible: the process that asks the registry takes seconds to start.
    """

    def __init__(
        self, root: Path, *, stop: threading.Event, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._root = root
        self._stop = stop
        self._environment = environment

    def __enter__(self) -> Self:
        self._registry = registry_process(self._root, self._environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._registry.close()

    def expect(self, plan: Sequence[PlannedStage]) -> None:
        """Ask the registry at once where nothing will run that could change its answer."""
        if all(stage.verdict == "cached" for stage in plan):
            self._registry.ask()

    def finish(self, states: Mapping[str, State[Any]]) -> RegistryStatus | None:
        """Make the artifacts of the tasks whose stages have ended in these states; returns what the registry holds, or
        None where it does not say.
        """
        log = get_run_logger()
        log.info("all stages have ended; collecting the pictures and the registry's decisions")
        try:
            self._registry.ask()
            with busy("the report", say=log.info):
                self._show_pictures(states)
                answer = self._registry.answer(self._stop)
            if self._stop.is_set():
                return None
            if isinstance(answer, str):
                log.warning("no answer from the registry: %s", answer)
                self._show_tables(states, {})
                return None
            self._warn(answer, states)
            self._show_tables(states, answer.models)
            return answer
        except Exception as error:  # a report that fails must not fail the work that it reports on
            log.warning("the report is incomplete: %s: %s", type(error).__name__, error)
        return None

    def _warn(self, status: RegistryStatus, states: Mapping[str, State[Any]]) -> None:
        """Log what `sync` said; a warning where the registry lacks what this run should have brought there."""
        log = get_run_logger()
        for line in status.notes:
            log.debug("registry: %s", line)
        if status.fault:
            log.warning("the registry could not be checked: %s", status.fault)
        for name in tasks_of(states):
            model = status.models.get(name)
            if model and model.has_receipt and not model.here and ended_well(states, "register", name):
                log.warning("%s: the registry has no version of these outputs: dvc repro register@%s", name, name)

    def _show_tables(self, states: Mapping[str, State[Any]], models: Mapping[str, ModelStatus]) -> None:
        results = [
            TaskResult(task=task, metrics=read_json(path), model=models.get(task.name))
            for task in map(Task, tasks_of(states))
            if ended_well(states, "evaluate", task.name) and (path := self._root / task.paths.metrics).is_file()
        ]
        if results:
            create_markdown_artifact(metrics_table(results), key="metrics", description="Metrics of the test split")
        if (ui := os.environ.get(MLFLOW_UI)) and (text := links_table(models, tasks_of(states), ui)):
            create_markdown_artifact(text, key="links", description="Pages in MLflow")

    def _show_pictures(self, states: Mapping[str, State[Any]]) -> None:
        """Those of tasks in which a stage ran; an earlier run shows those of the others."""
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

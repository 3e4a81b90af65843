"""A search over params: trials that train with other values, side by side, and the one that did best.

`python -m flows.tune` starts it from the command line; the deployment `tune`, from Prefect's UI.

The objective is the best value that a trial's training reached of the *validation* metric it monitors, `train.monitor`.
The test split has no say: whoever chooses by it measures nothing with it afterwards. Each trial that trained to its end
is a DVC experiment and a run of MLflow below that of the study; nothing is registered.

A study goes on where it was stopped when one is started with the same name. Its trials all run with the files as they
were when it began.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as present_run
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from stages.metrics import higher_is_better
from stages.params import ParamsError
from stages.paths import project_root

from ..dag import PipelineError
from ..execution import cancellation
from ..execution.locks import StoppedError, locked
from ..execution.placement import PlaceError
from ..execution.worktree import WorktreeError
from ..pipeline import tell_ended
from .mlflow_run import Facts
from .options import Choice
from .report import Table, report
from .space import SearchError, grid, space
from .start import start_of
from .study import Asked, Study
from .study_run import StudyRun
from .trial import Setting, UnfinishedError, run_trial


@flow(name="tune", persist_result=False, task_runner=ThreadPoolTaskRunner())  # type: ignore[arg-type]
def tune(choice: Choice) -> State[Any]:
    """Search for the params with the best validation metric."""
    try:
        # The threads end before the flow does, and after they were told to.
        with ThreadPoolExecutor(choice.parallel) as threads, cancellation.stopping() as stop:
            return _tune(choice, choice.study or _name(str(present_run.get_name())), threads, stop)
    except (SearchError, ParamsError, PipelineError, PlaceError, WorktreeError, UnfinishedError) as error:
        return Failed(message=str(error))
    except StoppedError as error:
        return Cancelled(message=str(error))


def _tune(choice: Choice, name: str, threads: ThreadPoolExecutor, stop: threading.Event) -> State[Any]:
    log = get_run_logger()
    dimensions = space(choice.search)
    if choice.method == "grid":
        grid(dimensions)  # refuses what has no end before anything runs
    folder = project_root() / ".prefect" / "studies" / name
    waiting = partial(log.info, "waiting: another run is at the study %s", name)
    with locked(folder / "lock", stop=stop, on_wait=waiting), StudyRun(folder, stop) as run:
        begun = start_of(choice, dimensions, folder, stop)
        study = Study(
            folder / "study.jsonl",
            dimensions,
            method=choice.method,
            seed=choice.seed,
            minimise=not higher_is_better(begun.monitor),
            prune=choice.prune,
        )
        facts = Facts(
            study=name,
            task=choice.task,
            params={key: str(value) for key, value in choice.asked_for().items()},
        )
        setting = Setting(
            root=Path(),
            study=name,
            tree=begun.tree,
            monitor=begun.monitor,
            choice=choice.stages(choice.up_to),
            parent=run.begin(facts),
        )
        if choice.prune and choice.where == "pool":
            log.info("trainings on a pool are not pruned: what they measure is known here at their end")
        _search(choice, setting, study, threads, Table(setting, study).show)
        return report(setting, study, dimensions, facts, folder, run)


def _search(
    choice: Choice, setting: Setting, study: Study, threads: ThreadPoolExecutor, show: Callable[[], None]
) -> None:
    """Run trials, so many at once, until the study has all. Raises UnfinishedError where one could not be run."""
    ended: SimpleQueue[int] = SimpleQueue()
    running: dict[int, tuple[Future[State[Any]], threading.Event]] = {}
    broken = ""
    try:
        while True:
            while not broken and len(running) < choice.parallel and (asked := study.ask(choice.trials)):
                own = threading.Event()
                future = threads.submit(copy_context().run, _as_flow, setting, study, asked, own)
                running[asked.number] = future, own
                future.add_done_callback(partial(tell_ended, ended, asked.number))
            show()
            if not running:
                break
            number = ended.get()
            state = running.pop(number)[0].result()
            if not study.is_told(number) and not broken:
                broken = f"trial {number}: {state.message}"
                for _, own in running.values():
                    own.set()
    except BaseException:
        for _, own in running.values():
            own.set()
        raise
    if broken:
        raise UnfinishedError(f"{broken}; the study goes on with this trial when it is started again")


def _as_flow(setting: Setting, study: Study, asked: Asked, stop: threading.Event) -> State[Any]:
    """A trial as a flow run of its own, below that of the study."""

    @flow(
        name="trial",
        flow_run_name=setting.name(asked.number),
        persist_result=False,
        task_runner=ThreadPoolTaskRunner(),  # type: ignore[arg-type]
    )
    def trial(params: list[str]) -> State[Any]:
        try:
            return run_trial(setting, study, asked, stop=stop)
        except (ParamsError, PipelineError, PlaceError, WorktreeError, UnfinishedError) as error:
            return Failed(message=str(error))
        except StoppedError as error:
            return Cancelled(message=str(error))

    return trial(asked.assignments(), return_state=True)


def _name(run: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", run).strip("-") or "study"

"""A search over params: trials that train with other values, side by side, and the one that did best.

`python -m flows.tune` starts it from the command line; the deployment `tune`, from Prefect's UI.

The objective is the *validation* metric that a trial's training monitors, `train.monitor`, in the epoch whose weights
it keeps. The test split plays no part: a test split used for choosing no longer measures anything. Each trial that
trained to its end is a DVC experiment and an MLflow run below that of the study; nothing is registered.

A study that was stopped resumes when one is started with the same name. All its trials run with the files as they were
when it began.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as present_run
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from stages.metrics import higher_is_better
from stages.params_yaml import ParamsError
from stages.paths import project_root

from ..dag import PipelineError
from ..execution import cancellation
from ..execution.locks import StoppedError, locked
from ..execution.placement import PlacementError
from ..execution.worktree import WorktreeError
from .mlflow_run import StudyFacts
from .options import TuneOptions
from .report import TrialsTable, report
from .space import SearchError, grid, space
from .study import Study, Suggestion
from .study_run import StudyRun
from .study_snapshot import study_snapshot
from .trial import StudyContext, UnfinishedError, run_trial

_EXPECTED = (SearchError, ParamsError, PipelineError, PlacementError, WorktreeError, UnfinishedError)


@flow(name="tune", persist_result=False, task_runner=ThreadPoolTaskRunner())  # type: ignore[arg-type]
def tune(options: TuneOptions) -> State[Any]:
    """Search for the params with the best validation metric."""
    name = options.study or re.sub("[^A-Za-z0-9]+", "-", str(present_run.get_name())).strip("-") or "study"

    def search() -> State[Any]:
        # The threads end before the flow does, and after they were stopped.
        with ThreadPoolExecutor(options.parallel) as threads, cancellation.stopping() as stop:
            return _tune(options, name, threads, stop)

    return _as_state(search)


def _as_state(work: Callable[[], State[Any]]) -> State[Any]:
    """The state that some work returns, or that of what it raises when it cannot be done or is stopped."""
    try:
        return work()
    except _EXPECTED as error:
        return Failed(message=str(error))
    except StoppedError as error:
        return Cancelled(message=str(error))


def _tune(options: TuneOptions, name: str, threads: ThreadPoolExecutor, stop: threading.Event) -> State[Any]:
    log = get_run_logger()
    dimensions = space(options.search)
    if options.method == "grid":
        grid(dimensions)  # refuses what has no end before anything runs
    folder = project_root() / ".prefect" / "studies" / name
    waiting = partial(log.info, "waiting for another run of the study %s", name)
    with locked(folder / "lock", stop=stop, on_wait=waiting), StudyRun(folder, stop) as run:
        snapshot = study_snapshot(options, dimensions, folder, stop)
        study = Study(
            folder / "study.jsonl",
            dimensions,
            method=options.method,
            seed=options.seed,
            minimise=not higher_is_better(snapshot.monitor),
            prune=options.prune,
        )
        params = {key: str(value) for key, value in options.identity().items()}
        facts = StudyFacts(study=name, task=options.task, params=params)
        context = StudyContext(
            study=name,
            tree=snapshot.tree,
            monitor=snapshot.monitor,
            options=options.of_a_trial(options.up_to),
            parent=run.begin(facts),
        )
        if options.prune and options.where == "pool":
            log.info("trainings in a pool are not pruned, since their metrics arrive only when they end")
        _search(options, context, study, threads)
        return report(context, study, facts, run)


def _search(options: TuneOptions, context: StudyContext, study: Study, threads: ThreadPoolExecutor) -> None:
    """Run trials, so many at once, until the study has all. Raises UnfinishedError where one could not be run."""
    table = TrialsTable(context, study)
    running: dict[Future[State[Any]], tuple[int, threading.Event]] = {}
    broken = ""

    def stop_all() -> None:
        for _, stop in running.values():
            stop.set()

    try:
        while True:
            while not broken and len(running) < options.parallel and (suggestion := study.ask(options.trials)):
                stop = threading.Event()
                future = threads.submit(copy_context().run, _trial, context, study, suggestion, stop)
                running[future] = suggestion.number, stop
            table.show()
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                state, (number, _) = future.result(), running.pop(future)
                if not study.is_finished(number) and not broken:
                    broken = f"trial {number}: {state.message}"
                    stop_all()
    except BaseException:
        stop_all()
        raise
    if broken:
        raise UnfinishedError(f"{broken}; the study continues with this trial when it is started again")


def _trial(context: StudyContext, study: Study, suggestion: Suggestion, stop: threading.Event) -> State[Any]:
    """A trial as a flow run of its own, below that of the study."""

    @flow(
        name="trial",
        flow_run_name=context.name(suggestion.number),
        persist_result=False,
        task_runner=ThreadPoolTaskRunner(),  # type: ignore[arg-type]
    )
    def trial(params: list[str]) -> State[Any]:
        return _as_state(partial(run_trial, context, study, suggestion, stop=stop))

    return trial(suggestion.assignments(), return_state=True)

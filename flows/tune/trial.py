"""One trial of a study: the stages of a task with params of its own, in a worktree, watched and perhaps pruned.

While its training goes on, the objective of each epoch is read from the training's spool (`stages.tracking.spool`),
where it stands before MLflow has it. Of a training that came from DVC's cache, or ran on another machine, the epochs
are known at its end.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from stages.data.files import read_json
from stages.params_yaml import PARAMS_FILE, ParamsError
from stages.paths import resume_folder
from stages.recipe import override
from stages.tasks.protocol import Task
from stages.tracking import spool, training_run
from stages.training import learning_curve

from ..execution.experiment import check_out, save_experiment
from ..execution.locks import StoppedError
from ..execution.stage import Checkout
from ..execution.states import failures
from ..execution.worktree import worktree
from ..options import PipelineOptions
from ..pipeline import run_pipeline
from .mlflow_run import PARENT_TAG, TRIAL_TAG
from .study import Study, Suggestion

_POLL = 0.5  # seconds between two looks at the spool


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyContext:
    """What all trials of a study share."""

    study: str  # its name
    tree: str  # git's tree of the files that the trials run with
    monitor: str  # the validation metric that training monitors, as quantile_error
    options: PipelineOptions  # which stages, and where
    parent: str  # MLflow's id of the study's run; empty where the store is away

    @property
    def task(self) -> str:
        return self.options.tasks[0]

    def name(self, number: int) -> str:
        """The name of a trial and of its experiment."""
        return f"{self.study}-{number:03d}"


@dataclass(slots=True)
class Watch:
    """What is known of a training while it goes on."""

    signature: str = ""
    pruned: threading.Event = field(default_factory=threading.Event)


class UnfinishedError(RuntimeError):
    """A stage of the trial failed; the message is the stage's."""


def run_trial(context: StudyContext, study: Study, suggestion: Suggestion, *, stop: threading.Event) -> State[Any]:
    """Run a trial inside a flow and tell the study how it ended; returns that as a state.

    `stop` ends this trial alone; it is set here when the trial is pruned. Raises StoppedError, and tells nothing, where
    somebody else has set it. Tells the study of a trial that failed, and raises UnfinishedError where a stage did, and
    ParamsError for values that do not go together. After any other error the trial is as good as never begun.
    """
    number, watch = suggestion.number, Watch()
    try:
        with worktree(Path(), context.tree) as folder:
            override(suggestion.assignments(), folder / PARAMS_FILE)
            with _watched(context, study, number, watch, stop=stop):
                states = _run(context, number, folder, stop)
            if stop.is_set():
                raise StoppedError("stopped; the study continues with this trial when it is started again")
            if failed := failures(states):
                raise UnfinishedError("; ".join(failed))
            return _tell_finished(context, study, number, folder, states, stop=stop)
    except StoppedError:
        if not watch.pruned.is_set():
            raise
        if watch.signature:  # its checkpoint is of no use any more
            shutil.rmtree(resume_folder() / watch.signature, ignore_errors=True)
        return _tell_pruned(study, number, watch.signature)
    except (ParamsError, UnfinishedError) as error:
        study.tell(number, "failed", message=str(error))
        raise


def _run(context: StudyContext, number: int, folder: Path, stop: threading.Event) -> dict[str, State[Any]]:
    tags = {TRIAL_TAG: context.name(number)}
    if context.parent:
        tags[PARENT_TAG] = context.parent
    checkout = Checkout(folder, stop=stop, environment={training_run.TAGS_VARIABLE: json.dumps(tags)})
    check_out(checkout, checkout.pipeline.needed(context.options.targets()))
    return run_pipeline(checkout, context.options)


def _tell_finished(
    context: StudyContext,
    study: Study,
    number: int,
    folder: Path,
    states: Mapping[str, State[Any]],
    *,
    stop: threading.Event,
) -> State[Any]:
    paths = Task(context.task).paths
    rows = learning_curve.read(folder / paths.learning_curve)
    curve = [(int(row["epoch"]), row[f"validation_{context.monitor}"]) for row in rows]
    training = read_json(folder / paths.network)["training"]
    signature = training["signature"]
    for epoch, value in curve:
        # By the same rule, whether the result was computed now or came from the cache: the study is the same.
        if study.report(number, epoch, value):
            return _tell_pruned(study, number, signature)
    objective = dict(curve)[training["best_epoch"]]
    save_experiment(Checkout(folder, stop=stop), states, name=context.name(number))
    study.tell(number, "complete", objective=objective, epochs=len(curve), signature=signature)
    return Completed(message=f"{context.monitor} {objective:.6g} after {len(curve)} epochs")


def _tell_pruned(study: Study, number: int, signature: str) -> State[Any]:
    epochs = len(study.reported(number))
    message = f"worse than the median after {epochs} epochs"
    study.tell(number, "pruned", message=message, epochs=epochs, signature=signature)
    return Completed(name="Pruned", message=message)


@contextmanager
def _watched(
    context: StudyContext, study: Study, number: int, watch: Watch, *, stop: threading.Event
) -> Iterator[None]:
    """Report the trial's epochs while the block runs, and prune it where the study says so."""
    left = threading.Event()
    log = get_run_logger()
    metric = f"validation_{context.monitor}"
    offsets: dict[Path, int | None] = {}  # how far each spool was read; None: it is of another training

    def look(path: Path) -> None:
        if path not in offsets:
            start = spool.start(path)
            is_ours = start.tags.get(TRIAL_TAG) == context.name(number)
            watch.signature = start.signature if is_ours else watch.signature
            offsets[path] = 0 if is_ours else None
        offset = offsets[path]
        if offset is None:
            return
        for event, end in spool.read(path, offset):
            offsets[path] = end
            values = event.get("values", {})
            if metric in values and study.report(number, event["step"], values[metric]):
                log.info("pruned after epoch %d: %s %.6g", event["step"], context.monitor, values[metric])
                watch.pruned.set()
                stop.set()
                return

    def follow() -> None:
        while not left.wait(_POLL):
            for path in spool.pending(spool.folder()):
                with suppress(ValueError, FileNotFoundError):  # another training's and broken, or sent by now
                    look(path)
            if watch.pruned.is_set():
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        left.set()
        follower.join()

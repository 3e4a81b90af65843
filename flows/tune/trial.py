"""One trial of a study: the stages of a task with params of its own, in a worktree, watched and perhaps pruned.

While its training goes on, the objective of each epoch is read from the training's spool (`stages.tracking.spool`),
where it stands before MLflow has it. A training that came from DVC's cache, or ran on another machine, is known at its
end.
"""

from __future__ import annotations

import json
import math
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
from stages.params import PARAMS_FILE, ParamsError
from stages.paths import resume_folder
from stages.recipe import override
from stages.tasks.protocol import Task
from stages.tracking import spool, training_run
from stages.training import learning_curve

from ..execution.experiment import lay_out, save_experiment
from ..execution.locks import StoppedError
from ..execution.stage import Checkout
from ..execution.states import failures
from ..execution.worktree import worktree
from ..options import Choice
from ..pipeline import run_pipeline
from .mlflow_run import PARENT_TAG, TRIAL_TAG
from .study import Asked, Study

_POLL = 0.5  # seconds between two looks at the spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all trials of a study share."""

    root: Path
    study: str  # its name
    tree: str  # git's tree of the files that the trials run with
    monitor: str  # the validation metric that training monitors, as quantile_error
    choice: Choice  # which stages, and where
    parent: str  # MLflow's id of the study's run; empty where the store is away

    @property
    def task(self) -> str:
        return self.choice.tasks[0]

    def name(self, number: int) -> str:
        """Of a trial and of its experiment."""
        return f"{self.study}-{number:03d}"


@dataclass(slots=True)
class Watch:
    """What is seen of a training while it goes on."""

    signature: str = ""
    pruned: threading.Event = field(default_factory=threading.Event)


class UnfinishedError(RuntimeError):
    """A stage of the trial failed; the message is its own."""


def run_trial(setting: Setting, study: Study, asked: Asked, *, stop: threading.Event) -> State[Any]:
    """Run a trial inside a flow and tell the study how it ended; returns that as a state.

    `stop` ends this trial alone; it is set here when the trial is pruned. Raises StoppedError, and tells nothing, where
    somebody else has set it. Tells the study of a trial that failed, and raises UnfinishedError where a stage did, and
    ParamsError for values that do not go together. After any other error the trial is as good as never begun.
    """
    watch = Watch()
    try:
        with worktree(setting.root, setting.tree) as folder:
            override(asked.assignments(), folder / PARAMS_FILE)
            with _watched(setting, study, asked.number, watch, stop=stop):
                states = _run(setting, asked, folder, stop=stop)
            if watch.pruned.is_set():
                return _pruned(study, asked.number, watch)
            if stop.is_set():
                raise StoppedError("stopped; the study goes on with this trial when it is started again")
            return _finished(setting, study, asked.number, folder, states, stop=stop)
    except StoppedError:
        if watch.pruned.is_set():
            return _pruned(study, asked.number, watch)
        raise
    except (ParamsError, UnfinishedError) as error:
        study.tell(asked.number, "failed", message=str(error))
        raise


def _run(setting: Setting, asked: Asked, folder: Path, *, stop: threading.Event) -> dict[str, State[Any]]:
    tags = {TRIAL_TAG: setting.name(asked.number)}
    if setting.parent:
        tags[PARENT_TAG] = setting.parent
    checkout = Checkout(folder, environment={training_run.TAGS_VARIABLE: json.dumps(tags)})
    lay_out(checkout, checkout.pipeline.needed(setting.choice.targets()), stop=stop)
    return run_pipeline(checkout, setting.choice, stop=stop)


def _finished(
    setting: Setting,
    study: Study,
    number: int,
    folder: Path,
    states: Mapping[str, State[Any]],
    *,
    stop: threading.Event,
) -> State[Any]:
    if failed := failures(states):
        raise UnfinishedError("; ".join(failed))
    paths = Task(setting.task).paths
    curve = [
        (int(row["epoch"]), row[f"validation_{setting.monitor}"])
        for row in learning_curve.read(folder / paths.learning_curve)
    ]
    signature = read_json(folder / paths.network)["training"]["signature"]
    for epoch, value in curve:
        # By the same rule, whether the result was computed now or came from the cache: the study is the same.
        if study.report(number, epoch, value):
            return _tell_pruned(study, number, signature)
    best = min if study.minimise else max
    objective = best(value for _, value in curve if math.isfinite(value))
    save_experiment(Checkout(folder), states, name=setting.name(number), stop=stop)
    study.tell(number, "complete", objective=objective, epochs=len(curve), signature=signature)
    return Completed(message=f"{setting.monitor} {objective:.6g} after {len(curve)} epochs")


def _pruned(study: Study, number: int, watch: Watch) -> State[Any]:
    if watch.signature:  # its state is of no use any more
        shutil.rmtree(resume_folder() / watch.signature, ignore_errors=True)
    return _tell_pruned(study, number, watch.signature)


def _tell_pruned(study: Study, number: int, signature: str) -> State[Any]:
    epochs = len(study.seen(number))
    message = f"worse than the median after {epochs} epochs"
    study.tell(number, "pruned", message=message, epochs=epochs, signature=signature)
    return Completed(name="Pruned", message=message)


@contextmanager
def _watched(setting: Setting, study: Study, number: int, watch: Watch, *, stop: threading.Event) -> Iterator[None]:
    """Report the trial's epochs while the block runs, and prune it where the study says so."""
    left = threading.Event()
    log = get_run_logger()
    name, metric = setting.name(number), f"validation_{setting.monitor}"
    offsets: dict[Path, int | None] = {}  # how far each spool was read; None: it is not ours

    def look(path: Path) -> None:
        if path not in offsets:
            start = spool.start(path)
            ours = start.tags.get(TRIAL_TAG) == name
            watch.signature = start.signature if ours else watch.signature
            offsets[path] = 0 if ours else None
        offset = offsets[path]
        if offset is None:
            return
        for event, end in spool.read(path, offset):
            offsets[path] = end
            values = event.get("values", {})
            if metric in values and study.report(number, event["step"], values[metric]):
                log.info("pruned after epoch %d: %s %.6g", event["step"], setting.monitor, values[metric])
                watch.pruned.set()
                stop.set()
                return

    def follow() -> None:
        while not left.wait(_POLL):
            for path in spool.pending(spool.folder()):
                with suppress(ValueError, FileNotFoundError):  # it is somebody else's and broken, or was sent
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

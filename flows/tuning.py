"""A search over params: trials that train with other values, side by side, and the one that did best.

`flows.tune` starts it from the command line; the deployment `tune`, from Prefect's UI.

The objective is the best value that a trial's training reached of the *validation* metric it monitors, `train.monitor`.
The test split has no say: whoever chooses by it measures nothing with it afterwards. Each trial that trained to its end
is a DVC experiment and a run of MLflow below that of the study; nothing is registered.

A study goes on where it was stopped when one is started with the same name. Its trials all run with the files as they
were when it began.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as present_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, Field

from stages.params import PARAMS_FILE, ParamsError, read

from . import lifeline, pipeline, study_run, trials
from .dag import PipelineError
from .experiment import experiment, lay_out
from .locks import StoppedError, locked
from .pipeline import TaskName, run_pipeline, summary
from .place import PlaceError
from .space import Dimension, SearchError, check, space
from .stage import Checkout
from .study import Asked, Method, Study, minimised
from .supervisor import supervised
from .trial import Setting, UnfinishedError, run_trial
from .worktree import WorktreeError, keep_tree, main_checkout, snapshot

_MLFLOW_SECONDS = 90.0  # for MLflow to be imported, to answer and to be told
_BEGUN = "begun.json"  # what a study is, once that is settled


class Choice(BaseModel):
    """What to search, and how: the form in Prefect's UI."""

    task: TaskName = Field(description="Task whose training is searched")
    search: list[str] = Field(
        min_length=1,
        description="One line for each param: forecast.train.learning_rate=log(1e-4, 1e-1), or =uniform(0, 0.5), "
        "=int(1, 4), =log_int(8, 256), =[32, 64, 128]",
    )
    method: Method = Field(
        default="tpe", description="tpe: learns from the trials before; random; grid: each combination"
    )
    trials: int = Field(default=20, ge=1, description="Trials of the study in all; of a grid, the first ones")
    parallel: int = Field(default=1, ge=1, description="Trials at once. Only with 1 a study can be repeated exactly")
    seed: int = Field(default=1, ge=0, description="Seed of what is drawn")
    prune: bool = Field(default=True, description="End a training whose validation metric is worse than the median")
    up_to: Literal["train", "evaluate"] = Field(default="train", description="The last stage of each trial")
    overrides: list[str] = Field(default=[], description="Params for all trials, as forecast.train.epochs=10")
    where: Literal["auto", "here", "pool"] = Field(
        default="auto", description="Where the stages of a trial run, as in the flow pipeline"
    )
    pool: str = Field(default="gpu", description="Work pool for stages that run elsewhere")
    study: str = Field(
        default="",
        pattern="^([A-Za-z0-9][A-Za-z0-9-]*)?$",
        description="Name of the study, that of this run if empty. A study of this name that was stopped goes on",
    )

    def asked_for(self) -> dict[str, Any]:
        """What makes a study what it is: the same for all its trials."""
        return self.model_dump(include={"task", "search", "method", "seed", "prune", "overrides"})

    def stages(self, up_to: pipeline.Verb) -> pipeline.Choice:
        """The stages of one trial, one after the other."""
        return pipeline.Choice(tasks=[self.task], up_to=up_to, where=self.where, pool=self.pool, parallel=1)


@flow(name="tune", persist_result=False, task_runner=ThreadPoolTaskRunner())  # type: ignore[arg-type]
def tune(choice: Choice) -> State[Any]:
    """Search for the params with the best validation metric."""
    try:
        # The threads end before the flow does, and after they were told to.
        with ThreadPoolExecutor(choice.parallel) as threads, lifeline.stopping() as stop:
            return _tune(choice, choice.study or _name(str(present_run.get_name())), threads, stop)
    except (SearchError, ParamsError, PipelineError, PlaceError, WorktreeError, UnfinishedError) as error:
        return Failed(message=str(error))
    except StoppedError as error:
        return Cancelled(message=str(error))


def _tune(choice: Choice, name: str, threads: ThreadPoolExecutor, stop: threading.Event) -> State[Any]:
    log = get_run_logger()
    dimensions = space(choice.search)
    folder = main_checkout(Path()) / ".prefect" / "studies" / name
    with locked(folder / "lock", stop=stop, on_wait=lambda: log.info("waiting: another run is at the study %s", name)):
        begun = _begun(choice, dimensions, folder, stop)
        minimise = minimised(begun["monitor"])
        study = Study(
            folder / "study.jsonl",
            dimensions,
            method=choice.method,
            seed=choice.seed,
            minimise=minimise,
            prune=choice.prune,
        )
        facts = study_run.Facts(
            study=name,
            task=choice.task,
            params={key: str(value) for key, value in choice.asked_for().items()},
        )
        setting = Setting(
            root=Path(),
            study=name,
            tree=begun["tree"],
            monitor=begun["monitor"],
            choice=choice.stages(choice.up_to),
            parent=_mlflow("begin", facts, folder, stop),
        )
        if choice.prune and choice.where == "pool":
            log.info("trainings on a pool are not pruned: what they measure is known here at their end")
        table = _Table(setting, study)
        _search(choice, setting, study, threads, table.show)
        return _report(setting, study, dimensions, facts, folder, stop)


def _begun(choice: Choice, dimensions: Sequence[Dimension], folder: Path, stop: threading.Event) -> dict[str, Any]:
    """What all trials start from: files and dvc.lock as a tree of git's, with the overrides and the stages in common.

    Those that no searched param touches are brought up to date here, once; a trial finds them done.
    """
    file = folder / _BEGUN
    if file.is_file():
        begun = json.loads(file.read_text(encoding="utf-8"))
        _refuse_other(folder.name, begun["asked_for"], choice.asked_for())
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
    begun = {
        "asked_for": choice.asked_for(),
        "tree": tree,
        "monitor": params[choice.task]["train"]["monitor"],
    }
    temporary = file.with_suffix(".partial")
    temporary.write_text(json.dumps(begun, indent=2), encoding="utf-8")
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
                future.add_done_callback(partial(_tell, ended, asked.number))
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


def _tell(ended: SimpleQueue[int], number: int, future: Future[State[Any]]) -> None:
    ended.put(number)


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


class _Table:
    """The artifact with the trials, which grows while the study goes on."""

    def __init__(self, setting: Setting, study: Study) -> None:
        self._setting = setting
        self._study = study
        self._id: UUID | None = None

    def show(self) -> None:
        """Bring it up to date."""
        setting, study = self._setting, self._study
        text = trials.markdown(study.tried(), study.best(), monitor=setting.monitor, name=setting.name)
        if self._id is None:
            description = f"Trials of the study {setting.study}"
            self._id = create_markdown_artifact(text, key="trials", description=description)  # type: ignore[assignment]
        else:
            with get_client(sync_client=True) as client:
                client.update_artifact(self._id, ArtifactUpdate(data=text))


def _report(
    setting: Setting,
    study: Study,
    dimensions: Sequence[Dimension],
    facts: study_run.Facts,
    folder: Path,
    stop: threading.Event,
) -> State[Any]:
    """Picture, CSV and MLflow's run; the flow's state names the best trial and the command that applies it."""
    tried, best = study.tried(), study.best()
    counts = Counter(one.state for one in tried)
    total = f"{len(tried)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    picture = trials.picture(tried, dimensions, monitor=setting.monitor, minimise=study.minimise)
    (folder / study_run.PICTURE).write_bytes(picture)
    (folder / study_run.TABLE).write_text(trials.as_csv(tried, name=setting.name), encoding="utf-8")
    create_markdown_artifact(
        trials.embedded(picture), key="trials-plot", description=f"Trials of the study {setting.study}"
    )
    told = replace(facts, trials=[asdict(one) for one in tried], best=best.number if best else None)
    _mlflow("end", told, folder, stop)
    if best is None:
        reasons = "\n".join(f"trial {one.number}: {one.message}" for one in tried if one.state == "failed")
        return Failed(message=f"{total}\n\n{reasons}")
    command = trials.apply_command(setting.name(best.number))
    get_run_logger().info("best: trial %d; `%s` brings it into the checkout", best.number, command)
    return Completed(message=f"{total}; best: trial {best.number}, {setting.monitor} {best.objective:.6g}; {command}")


def _mlflow(command: str, facts: study_run.Facts, folder: Path, stop: threading.Event) -> str:
    """Tell MLflow of the study; returns the id of its run, or nothing where the store is away."""
    facts.write(folder)
    ended = supervised(
        [sys.executable, "-m", "flows.study_run", command, str(folder)],
        folder=Path(),
        timeout=_MLFLOW_SECONDS,
        stop=stop,
    )
    if stop.is_set():
        raise StoppedError("stopped while MLflow was told of the study")
    last = ended.tail[-1] if ended.tail else ""
    if ended.status:
        get_run_logger().warning("MLflow was not told of the study (%s): %s", command, last)
        return ""
    return last


def _name(run: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", run).strip("-") or "study"

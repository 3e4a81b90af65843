"""Which stages a nightly run does not train, by `TASK.monitor.retrain`, and how the plan and `make check` know.

    … | python -m flows.hold_back     read stale stages from standard input, print those that are not held back

New data makes the stages of a model stale: train, evaluate, register. They *wait* if that is the only reason: the raw
data differ from those of the last registered version, and nobody has edited code or params. A nightly run decides by
the policy whether they run; it never holds back an edit, a first training, or the stages after a finished training. All
of this is read from dvc.lock, so that every clone sees the same. `dvc repro` knows no policy and runs them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from stages.monitoring.retraining import decide
from stages.params import TaskParams, load
from stages.params_yaml import ParamsError
from stages.tasks.protocol import Task

from .dag import Pipeline, PipelineError, PlannedStage, Seen
from .record import read_record

KEY = "monitor.retrain"
_OF_A_TASK = ("train", "evaluate", "register")
_OF_A_MODEL = ("judge", *_OF_A_TASK)  # the judge is of the task whose data it learns from


def tasks_waiting(pipeline: Pipeline, among: Iterable[str] | None = None) -> tuple[str, ...]:
    """The tasks, of those named or of all, whose models new data has made stale, or will have once it is fetched, and
    nothing else has.
    """
    seen: Seen = {}
    names = [name for name in Task.names() if (among is None or name in among) and f"register@{name}" in pipeline]
    return tuple(name for name in names if _is_waiting(pipeline, Task(name), seen))


def unfinished(plan: Sequence[PlannedStage]) -> set[str]:
    """The tasks of which a stage of a model is not up to date: no others can be waiting."""
    return {
        task for verb, _, task in (s.name.partition("@") for s in plan if s.verdict != "cached") if verb in _OF_A_MODEL
    }


def held_back(
    pipeline: Pipeline, params: Mapping[str, TaskParams], day: date, among: Iterable[str] | None = None
) -> dict[str, str]:
    """The tasks, of those named or of all, whose models wait and that a night on this day, as far as is known without
    the registry, leaves as they are: why, by task.

    When the last training was, and what drift and scores say, stands in the last night's record where that speaks of
    the same data; the policy is that of `params`, which may have been edited since.
    """
    held = {}
    for name in tasks_waiting(pipeline, among):
        owner = Task(name).description().dataset_task
        monitor = params[owner].monitor
        record = read_record(pipeline.root, owner)
        if record and record.data == data_of(pipeline, owner) and record.watched:
            decision = decide(monitor, record.watched.evidence(day))
            if not decision.retrain and not record.is_cut_short:
                held[name] = decision.reason
        elif monitor.retrain != "on_new_data":
            held[name] = f"{monitor.retrain}; the next nightly run decides"
    return held


def hold_back(plan: Sequence[PlannedStage], held: Mapping[str, str]) -> tuple[PlannedStage, ...]:
    """The plan without the stages of models that are held back; `held` says why, by task."""
    return tuple(
        replace(stage, verdict="held", reasons=(f"{KEY}: {held[task]}", *stage.reasons))
        if task in held and verb in _OF_A_MODEL and stage.verdict != "cached"
        else stage
        for stage, (verb, _, task) in ((stage, stage.name.partition("@")) for stage in plan)
    )


def data_of(pipeline: Pipeline, owner: str) -> str:
    """DVC's hash of the prepared data of a task, as dvc.lock has it; empty where they were never prepared."""
    return pipeline.recorded(f"preprocess@{owner}", Task(owner).paths.prepared) or ""


def _is_waiting(pipeline: Pipeline, task: Task, seen: Seen) -> bool:
    owner, paths = task.description().dataset_task, task.paths
    stages = [f"judge@{owner}", *(f"{verb}@{task.name}" for verb in _OF_A_TASK)]
    if any(stage in pipeline and pipeline.edited(stage, seen) for stage in stages):
        return False
    if pipeline.pin_moved(f"download@{owner}"):
        return not any(pipeline.edited(f"{verb}@{owner}", seen) for verb in ("download", "preprocess"))
    raw = pipeline.recorded(f"download@{owner}", paths.raw) != pipeline.recorded(f"register@{task.name}", paths.raw)
    return raw and data_of(pipeline, owner) != pipeline.recorded(f"train@{task.name}", paths.prepared)


def main() -> None:
    """The command line."""
    stale = [name for name in sys.stdin.read().split() if "@" in name]
    if not stale:
        return
    try:
        load()
        waiting = tasks_waiting(Pipeline(Path()))
    except (PipelineError, ParamsError) as error:
        sys.exit(f"unroll: hold back: {error}")
    left = [name for name in stale if name.partition("@")[2] not in waiting or name.startswith(("download", "prepro"))]
    if held := [name for name in stale if name not in left]:
        print(
            f"unroll: new data has made {' '.join(held)} stale: held back by {KEY}; this is not an error",
            file=sys.stderr,
        )
    print(*left)


if __name__ == "__main__":
    main()

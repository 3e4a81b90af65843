"""The pipeline as a Prefect flow: one task for each stage of dvc.yaml, side by side where the graph allows.

`flows.run` starts it from the command line; the deployment of the same name, from Prefect's UI and by schedule.

DVC decides what must run; the flow decides only when and where. After it, dvc.lock is what a serial `dvc repro` would
have written.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.client.schemas.objects import TaskRun as PrefectTaskRun
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run as present_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task as PrefectTask
from prefect.tasks import exponential_backoff

from stages.params import PARAMS_FILE, load
from stages.registry.decision import OVERRIDES_VARIABLE

from .dag import PlannedStage, sort_lock
from .execution import cancellation
from .execution.experiment import check_out, experiment, save_experiment
from .execution.placement import placement
from .execution.remote import send_stage
from .execution.stage import Checkout, run_stage
from .execution.states import TIMED_OUT, failures, state_of
from .execution.worktree import remove_abandoned
from .options import PipelineOptions
from .reports.report import Reporter
from .reports.tables import plan_table

_FIRST_PAUSE = 2.0  # seconds before the first retry; each next one is twice as long


class _StageFirst(logging.Filter):
    """Has each line of a task's log begin with its stage: Prefect shows those of all stages as one list."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = f"{getattr(record, 'task_run_name', '')}: {record.msg}"
        return True


logging.getLogger("prefect.task_runs").addFilter(_StageFirst())


@flow(name="pipeline", persist_result=False, task_runner=ThreadPoolTaskRunner())  # type: ignore[arg-type]
def pipeline(options: PipelineOptions = PipelineOptions()) -> State[Any]:  # noqa: B008, Prefect's form shows this default
    """Bring stages up to date: download, preprocess, train, evaluate and register, for the chosen tasks."""
    remove_abandoned(Path())
    root = experiment(Path(), options.overrides) if options.overrides else nullcontext(Path())
    environment = {OVERRIDES_VARIABLE: " ".join(options.overrides)} if options.overrides else {}
    with (
        cancellation.stopping() as stop,
        root as folder,
        Reporter(folder, stop=stop, environment=environment) as report,
    ):
        checkout = Checkout(folder, stop=stop, environment=environment)
        if options.overrides:
            check_out(checkout, checkout.pipeline.needed(options.targets()))
        states = run_pipeline(checkout, options, on_plan=report.expect)
        if options.overrides and all(state.is_completed() for state in states.values()):
            save_experiment(checkout, states, name=str(present_run.get_name()))
        report.finish(states)
        return summary(states)


def run_pipeline(
    checkout: Checkout,
    options: PipelineOptions,
    *,
    on_plan: Callable[[Sequence[PlannedStage]], None] = lambda _: None,
) -> dict[str, State[Any]]:
    """Bring the chosen stages up to date in a checkout, inside a flow; returns how each of them ended."""
    load(checkout.root / PARAMS_FILE)
    pipeline = checkout.pipeline
    plan = placement(checkout, pipeline.plan(options.targets(), force=options.force), options)
    on_plan(plan)
    create_markdown_artifact(plan_table(plan), key="plan", description="Which stages run, where, and why")
    states = _run_in_order(checkout, plan, force=options.force, parallel=options.parallel)
    if any(state.name != "Cached" for state in states.values()):
        sort_lock(checkout.root, before=pipeline.locked, order=tuple(pipeline))
    return states


def summary(states: Mapping[str, State[Any]]) -> State[Any]:
    """The state of a flow from those of its stages: which failed, which were not reached, how many ran."""
    counts = Counter(state.name or "Unknown" for state in states.values())
    total = ", ".join(f"{count} {name}" for name, count in counts.items())
    if failed := failures(states):
        return Failed(message="\n\n".join([f"{len(states)} stages: {total}", *failed]))
    return Completed(message=f"{len(states)} stages: {total}")


def _run_in_order(
    checkout: Checkout, plan: Sequence[PlannedStage], *, force: bool, parallel: int
) -> dict[str, State[Any]]:
    """Submit each stage once those before it have ended, `parallel` at a time of those that run on this machine.

    Prefect has no limit for that. ThreadPoolTaskRunner's `max_workers` counts tasks that only wait for others as well,
    so that all threads can be taken by stages that wait while one that could run does not; its concurrency limits lie
    on the server and hold for all flow runs and machines together; and a semaphore within the task would show a stage
    as running that waits. So a stage is submitted when it can start.
    """
    futures: dict[str, PrefectFuture[Any]] = {}
    states: dict[str, State[Any]] = {}
    ended: SimpleQueue[str] = SimpleQueue()
    here = {stage.name for stage in plan if stage.pool is None}
    while len(states) < len(plan):
        for stage in (stage for stage in plan if stage.name not in futures):
            name, before = stage.name, checkout.pipeline.upstream(stage.name)
            running = sum(other in here and other not in states for other in futures)
            if all(up in states for up in before) and (name not in here or running < parallel):
                after = [futures[up] for up in before]
                future = _task(checkout, name).submit(checkout, name, pool=stage.pool, force=force, wait_for=after)
                future.add_done_callback(lambda _, name=name: ended.put(name))  # type: ignore[misc]
                futures[name] = future
        name = ended.get()
        futures[name].wait()
        states[name] = futures[name].state
    return states


def _task(checkout: Checkout, name: str) -> PrefectTask[..., Any]:
    """A stage as a Prefect task, with the retries that its `meta` asks for."""

    def may_retry(task: PrefectTask[..., Any], run: PrefectTaskRun, state: State[Any]) -> bool:
        return state.name != TIMED_OUT and not checkout.stop.is_set()

    return stage_task.with_options(
        name=name,
        task_run_name=name,
        retries=checkout.pipeline.resources(name).retries,
        retry_delay_seconds=exponential_backoff(_FIRST_PAUSE),
        retry_jitter_factor=0.5,
        retry_condition_fn=may_retry,
    )


@task(cache_policy=NO_CACHE, persist_result=False)
def stage_task(checkout: Checkout, name: str, *, pool: str | None, force: bool) -> State[Any]:
    """Bring one stage up to date, here or on a worker of the pool."""
    log = get_run_logger()
    if pool is None:
        return state_of(partial(run_stage, checkout, name, force=force, on_line=log.info))
    return state_of(partial(send_stage, checkout, name, pool=pool, force=force, on_line=log.info))

"""The pipeline as a Prefect flow: one task for each stage of dvc.yaml, side by side where the graph allows.

`flows.run` starts it from the command line; the deployment of the same name, from Prefect's UI and by schedule.

What must run is DVC's to say; the flow decides nothing else than when and where. After it, dvc.lock is what a serial
`dvc repro` would have written.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.client.schemas.objects import TaskRun as PrefectTaskRun
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run as present_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task as PrefectTask
from prefect.tasks import exponential_backoff

from stages.params import PARAMS_FILE, load

from .dag import Decision, Pipeline, sort_lock
from .execution import cancellation
from .execution.experiment import experiment, lay_out, save_experiment
from .execution.locks import StoppedError
from .execution.placement import placed
from .execution.remote import send_stage
from .execution.stage import Checkout, run_stage
from .execution.states import TOO_LATE, failures, state_of
from .options import Choice
from .plan import markdown
from .reports.report import Reporter

Key = TypeVar("Key")
_FIRST_PAUSE = 2.0  # seconds before the first retry; each next one is twice as long


@flow(name="pipeline", persist_result=False, task_runner=ThreadPoolTaskRunner())  # type: ignore[arg-type]
def pipeline(choice: Choice = Choice()) -> State[Any]:  # noqa: B008, Prefect's form shows this default
    """Bring stages up to date: download, preprocess, train, evaluate and register, for the chosen tasks."""
    root = experiment(Path(), choice.overrides) if choice.overrides else nullcontext(Path())
    with cancellation.stopping() as stop, root as folder, Reporter(folder, stop=stop) as report:
        checkout = Checkout(folder)
        if choice.overrides:
            lay_out(checkout, checkout.pipeline.needed(choice.targets()), stop=stop)
        states = run_pipeline(checkout, choice, stop=stop, on_plan=report.expect)
        if choice.overrides and all(state.is_completed() for state in states.values()):
            save_experiment(checkout, states, name=str(present_run.get_name()), stop=stop)
        report.finish(states)
        return summary(states)


def run_pipeline(
    checkout: Checkout,
    choice: Choice,
    *,
    stop: threading.Event,
    on_plan: Callable[[Sequence[Decision]], None] = lambda _: None,
) -> dict[str, State[Any]]:
    """Bring the chosen stages up to date in a checkout, inside a flow; returns how each of them ended."""
    load(checkout.root / PARAMS_FILE)
    pipeline = checkout.pipeline
    names = pipeline.needed(choice.targets())
    decisions = pipeline.plan(choice.targets(), force=choice.force)
    on_plan(decisions)
    places = placed(checkout, decisions, choice)
    create_markdown_artifact(markdown(decisions, places), key="plan", description="Which stages run, where, and why")

    def submit(name: str, after: list[PrefectFuture[Any]]) -> PrefectFuture[Any]:
        stage = _task(pipeline, name, stop)
        return stage.submit(checkout, name, pool=places.get(name), force=choice.force, stop=stop, wait_for=after)

    states = _in_order(pipeline, names, submit, local=choice.parallel, elsewhere=places)
    if any(state.name != "Cached" for state in states.values()):
        sort_lock(checkout.root, before=pipeline.locked, order=tuple(pipeline))
    return states


def tell_ended(ended: SimpleQueue[Key], key: Key, future: object) -> None:
    """What a future does when it is done: its key goes to the one who waits for the next."""
    ended.put(key)


def summary(states: Mapping[str, State[Any]]) -> State[Any]:
    """The state of a flow from those of its stages: which failed, which were not reached, how many ran."""
    counts = Counter(state.name or "Unknown" for state in states.values())
    total = ", ".join(f"{count} {name}" for name, count in counts.items())
    if failed := failures(states):
        return Failed(message="\n\n".join([f"{len(states)} stages: {total}", *failed]))
    return Completed(message=f"{len(states)} stages: {total}")


def _task(pipeline: Pipeline, name: str, stop: threading.Event) -> PrefectTask[..., Any]:
    """A stage as a Prefect task, with the retries that its `meta` asks for."""

    def may_retry(task: PrefectTask[..., Any], run: PrefectTaskRun, state: State[Any]) -> bool:
        return state.name != TOO_LATE and not stop.is_set()

    asked = pipeline.resources(name)
    return stage_task.with_options(
        name=name,
        task_run_name=name,
        retries=asked.retries,
        retry_delay_seconds=exponential_backoff(_FIRST_PAUSE),
        retry_jitter_factor=0.5,
        retry_condition_fn=may_retry,
    )


@task(cache_policy=NO_CACHE, persist_result=False)
def stage_task(checkout: Checkout, name: str, *, pool: str | None, force: bool, stop: threading.Event) -> State[Any]:
    """Bring one stage up to date, here or on a worker of the pool."""
    log = get_run_logger()
    try:
        if pool is None:
            return state_of(run_stage(checkout, name, force=force, stop=stop, on_line=log.info))
        return state_of(send_stage(checkout, name, pool=pool, force=force, stop=stop, on_line=log.info))
    except StoppedError as error:
        return Cancelled(message=str(error))


def _in_order(
    pipeline: Pipeline,
    names: Sequence[str],
    submit: Callable[[str, list[PrefectFuture[Any]]], PrefectFuture[Any]],
    *,
    local: int,
    elsewhere: Container[str],
) -> dict[str, State[Any]]:
    """Submit each stage once those before it have ended, `local` at a time of those that run here.

    They wait here rather than in Prefect's threads, so that a task that shows as running does run.
    """
    futures: dict[str, PrefectFuture[Any]] = {}
    ended: SimpleQueue[str] = SimpleQueue()
    states: dict[str, State[Any]] = {}
    while len(states) < len(names):
        for name in names:
            upstream = [other for other in pipeline.upstream(name) if other in names]
            busy = sum(other not in states and other not in elsewhere for other in futures)
            if (
                name not in futures
                and all(other in states for other in upstream)
                and (busy < local or name in elsewhere)
            ):
                futures[name] = submit(name, [futures[other] for other in upstream])
                futures[name].add_done_callback(partial(tell_ended, ended, name))
        name = ended.get()
        futures[name].wait()
        states[name] = futures[name].state
    return states

"""The stages of a checkout as Prefect tasks, each begun when those before it have ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.client.schemas.objects import TaskRun as PrefectTaskRun
from prefect.futures import PrefectFuture
from prefect.tasks import Task as PrefectTask
from prefect.tasks import exponential_backoff

from ..dag import PlannedStage, sort_lock
from .remote import send_stage
from .stage import Checkout, run_stage
from .states import TIMED_OUT, state_of

_FIRST_PAUSE = 2.0  # seconds before the first retry; each next one is twice as long


class _StageFirst(logging.Filter):
    """Has each line of a task's log begin with its stage: Prefect shows those of all stages as one list."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = f"{getattr(record, 'task_run_name', '')}: {record.msg}"
        return True


logging.getLogger("prefect.task_runs").addFilter(_StageFirst())


class StageRuns:
    """The stages that a flow brings up to date in a checkout, at once or one part after the other.

    `parallel` at a time of those that run on this machine. Prefect has no limit for that. ThreadPoolTaskRunner's
    `max_workers` counts tasks that only wait for others as well, so that all threads can be taken by stages that wait
    while one that could run does not; its concurrency limits lie on the server and hold for all flow runs and machines
    together; and a semaphore within the task would show a stage as running that waits. So a stage is submitted when it
    can start.
    """

    def __init__(self, checkout: Checkout, *, force: bool, parallel: int) -> None:
        self._checkout = checkout
        self._force = force
        self._parallel = parallel
        self._futures: dict[str, PrefectFuture[Any]] = {}
        self.states: dict[str, State[Any]] = {}  # of those that have ended, in this order

    def run(self, plan: Sequence[PlannedStage]) -> None:
        """Run the stages of a plan, but those that have run before. What they need and is in neither is taken as it is.

        dvc.lock is left in the pipeline's order.
        """
        pipeline, futures, states = self._checkout.pipeline, self._futures, self.states
        ended: SimpleQueue[str] = SimpleQueue()
        planned = {stage.name for stage in plan}
        here = {stage.name for stage in plan if stage.pool is None}
        while left := [stage for stage in plan if stage.name not in states]:
            for stage in (stage for stage in left if stage.name not in futures):
                name = stage.name
                before = [up for up in pipeline.upstream(name) if up in planned or up in futures]
                running = sum(other in here and other not in states for other in futures)
                if all(up in states for up in before) and (name not in here or running < self._parallel):
                    after = [futures[up] for up in before]
                    started = _task(self._checkout, name)
                    future = started.submit(self._checkout, name, pool=stage.pool, force=self._force, wait_for=after)
                    future.add_done_callback(lambda _, name=name: ended.put(name))  # type: ignore[misc]
                    futures[name] = future
            name = ended.get()
            futures[name].wait()
            states[name] = futures[name].state
        if any(state.name != "Cached" for state in states.values()):
            sort_lock(self._checkout.root, before=pipeline.locked, order=tuple(pipeline))


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

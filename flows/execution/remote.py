"""A stage on a worker in another clone, on this machine or on any other. What they share is a DVC remote.

The coordinator pushes what the stage reads, and orders the stage: commit, params.yaml, dvc.lock, pins of sources. The
worker puts these into a worktree of its clone, pulls, runs the stage with `dvc repro`, and pushes DVC's run cache. The
coordinator then finds the result there, as if it had computed it before. No git push, no shared disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.runtime import flow_run as present_run
from prefect.states import Cancelling
from prefect.utilities.urls import url_for
from pydantic import BaseModel, Field

from stages.registry.decision import OVERRIDES_VARIABLE

from . import cancellation
from .locks import StoppedError
from .stage import UNCHANGED, Checkout, Outcome, StageError, finished, run_stage, stage_locks
from .states import check_completed, state_of
from .worktree import WorktreeError, changed_pins, commit_of, fetch, worktree, write_pin

_POLL = 1.0  # seconds between two looks at the run on the worker
_MAX_PINS = 400_000  # bytes; Prefect takes parameters of 512 KiB, and params.yaml and dvc.lock are in them
_TRIES = 3  # workers that a stage is given to, one after another, when they die


class Order(BaseModel):
    """What a worker needs to run a stage as the coordinator would."""

    stage: str = Field(description="Name of the stage, such as train@sketch")
    commit: str = Field(pattern="^[0-9a-f]{40}$", description="Commit whose code runs")
    params: str = Field(description="params.yaml")
    lock: str = Field(description="Content of dvc.lock; empty if there is none")
    pins: dict[str, str] = Field(
        default_factory=dict, description="Pins of sources that differ from those in the commit"
    )
    force: bool = Field(default=False, description="Run it even if nothing has changed")
    overrides: str = Field(default="", description="Params that apply only to the run that ordered this stage")
    coordinator: str = Field(default="", description="Flow run that ordered this stage; the stage ends with it")


@flow(name="stage", persist_result=False)
def stage(order: Order) -> State[Any]:
    """Run one stage that another flow run has ordered, in a worktree of this worker's clone."""
    with cancellation.stopping(order.coordinator) as stop:
        return state_of(partial(_run_order, order, stop, partial(get_run_logger().info, f"{order.stage}: %s")))


def _run_order(order: Order, stop: threading.Event, on_line: Callable[[str], None]) -> Outcome:
    try:
        fetch(Path(), order.commit)
        with worktree(Path(), order.commit) as folder:
            (folder / "params.yaml").write_text(order.params, encoding="utf-8")
            for name, text in order.pins.items():
                write_pin(folder, name, text)
            if order.lock:
                (folder / "dvc.lock").write_text(order.lock, encoding="utf-8")
            else:
                (folder / "dvc.lock").unlink(missing_ok=True)
            environment = {OVERRIDES_VARIABLE: order.overrides} if order.overrides else {}
            checkout = Checkout(folder, stop=stop, environment=environment)
            if upstream := checkout.pipeline.upstream(order.stage):
                checkout.dvc("pull", "--quiet", *upstream, on_line=on_line)
            outcome = run_stage(checkout, order.stage, force=order.force, on_line=on_line)
            checkout.dvc("push", "--quiet", "--run-cache", order.stage, on_line=on_line)
            return outcome
    except WorktreeError as error:
        raise StageError(str(error)) from None


def send_stage(
    checkout: Checkout, name: str, *, pool: str, force: bool = False, on_line: Callable[[str], None]
) -> Outcome:
    """Bring one stage up to date on a worker of a pool; those before it must be. Raises as `Checkout.dvc` does.

    What has not changed, or lies in DVC's cache, is not sent. A worker that dies is replaced by another.
    """
    with stage_locks(checkout, name, on_line) as descriptors:
        planned = checkout.decide(name, force=force)
        if planned.verdict == "cached":
            return UNCHANGED
        if planned.verdict == "run":
            if upstream := checkout.pipeline.upstream(name):
                checkout.dvc("push", "--quiet", *upstream, on_line=on_line)
            _order(checkout, name, pool=pool, force=force, on_line=on_line)
        repro = ("repro", "--quiet", "--single-item", "--pull", name)
        checkout.dvc(*repro, descriptors=descriptors, on_line=on_line)
    return finished(planned)


def _order(checkout: Checkout, name: str, *, pool: str, force: bool, on_line: Callable[[str], None]) -> None:
    """Have a worker run the stage, and wait for it."""
    lock = checkout.root / "dvc.lock"
    order = Order(
        stage=name,
        commit=commit_of(checkout.root),
        params=(checkout.root / "params.yaml").read_text(encoding="utf-8"),
        lock=lock.read_text(encoding="utf-8") if lock.is_file() else "",
        pins=_pins(checkout),
        force=force,
        overrides=checkout.environment.get(OVERRIDES_VARIABLE, ""),
        coordinator=str(present_run.get_id() or ""),
    )
    for attempt in range(1, _TRIES + 1):
        ordered = cast(
            FlowRun,
            run_deployment(
                f"stage/{pool}",
                parameters={"order": order.model_dump()},
                flow_run_name=f"{name} on {pool}",
                timeout=0,
                as_subflow=False,  # it would add a task of a random name to those of the stages
            ),
        )
        on_line(f"ordered from the pool {pool}: {url_for(ordered) or ordered.name}")
        state = _wait(ordered, checkout.stop)
        if not state.is_crashed():
            check_completed(state)
            return
        on_line(f"the worker of {ordered.name} died ({state.message}); attempt {attempt} of {_TRIES}")
    raise StageError(f"{_TRIES} workers of the pool {pool} died; the last: {state.message}")


def _pins(checkout: Checkout) -> dict[str, str]:
    """The pins that the worker's commit has otherwise. Raises StageError where they are too large for an order."""
    pins = changed_pins(checkout.root)
    if sum(len(text.encode()) for text in pins.values()) > _MAX_PINS:
        raise StageError(f"{', '.join(pins)}: too large to send to a worker; commit and push them first")
    return pins


def _wait(ordered: FlowRun, stop: threading.Event) -> State[Any]:
    with get_client(sync_client=True) as client:
        while True:
            state = client.read_flow_run(ordered.id).state
            if state is not None and state.is_final():
                return state
            if stop.wait(_POLL):
                client.set_flow_run_state(ordered.id, Cancelling(message="the run that ordered this stage was stopped"))
                raise StoppedError(f"stopped; stopping the run {ordered.name}")

"""Where stages run: on this machine, or on workers of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from stages.params_yaml import PARAMS_FILE, read
from stages.sources.additional import is_local

from ..dag import PlannedStage
from .locks import gpus
from .stage import Checkout
from .worktree import commit_of

if TYPE_CHECKING:
    from ..options import PipelineOptions


class PlacementError(ValueError):
    """Stages cannot run where the run asks for; the message says what is missing."""


def placement(checkout: Checkout, plan: Sequence[PlannedStage], options: PipelineOptions) -> tuple[PlannedStage, ...]:
    """The plan with the pool of each stage that is to run elsewhere. A download from a folder of this machine, where
    `source.also` names one, runs here.

    Raises PlacementError, or WorktreeError for uncommitted code.
    """
    elsewhere = _elsewhere(checkout, plan, options)
    if elsewhere:
        commit_of(checkout.root)
    return tuple(replace(stage, pool=options.pool) if stage.name in elsewhere else stage for stage in plan)


def _elsewhere(checkout: Checkout, plan: Sequence[PlannedStage], options: PipelineOptions) -> set[str]:
    """The names of the stages that are to run on the pool."""
    pipeline, pool = checkout.pipeline, options.pool
    if options.where == "here":
        return set()
    unfinished = {stage.name for stage in plan if stage.verdict in ("run", "wait")} - _of_this_machine(checkout, plan)
    if options.where == "auto":
        need_gpus = {name for name in unfinished if pipeline.resources(name).gpus}
        return need_gpus if need_gpus and not gpus() and pipeline.has_remote() and has_worker(pool) else set()
    if unfinished and not pipeline.has_remote():
        raise PlacementError(
            "a stage on another machine needs a DVC remote that both machines can reach: "
            "`dvc remote add --default NAME URL`"
        )
    if unfinished and not has_worker(pool):
        raise PlacementError(f"no worker of the pool {pool!r} is online: `prefect worker start --pool {pool}`")
    return unfinished


def _of_this_machine(checkout: Checkout, plan: Sequence[PlannedStage]) -> set[str]:
    """The downloads that read a folder which workers elsewhere do not have."""
    names = [stage.name for stage in plan if stage.name.startswith("download@")]
    params = read(checkout.root / PARAMS_FILE) if names else {}
    addresses = {name: params.get(name.partition("@")[2], {}).get("source", {}).get("also", []) for name in names}
    return {name for name, also in addresses.items() if any(map(is_local, also))}


def has_worker(pool: str) -> bool:
    """Whether a worker of the pool is online. False for a pool that does not exist."""
    with get_client(sync_client=True) as client:
        try:
            return any(worker.status == "ONLINE" for worker in client.read_workers_for_work_pool(pool))
        except ObjectNotFound:
            return False

"""Where stages run: on this machine, or on workers of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from ..dag import Decision
from .locks import gpus
from .stage import Checkout
from .worktree import commit_of

if TYPE_CHECKING:
    from ..options import Choice


class PlaceError(ValueError):
    """Stages cannot run where the run asks for; the message says what is missing."""


def placed(checkout: Checkout, decisions: Sequence[Decision], choice: Choice) -> dict[str, str]:
    """The pool of each stage that is to run elsewhere. Raises PlaceError, or WorktreeError for uncommitted code."""
    if choice.where == "here":
        return {}
    open_ = [d.name for d in decisions if d.verdict in ("run", "wait")]
    asking = [name for name in open_ if checkout.pipeline.resources(name).gpus]
    if choice.where == "auto":
        if not asking or gpus() or not checkout.has_remote() or not has_worker(choice.pool):
            return {}
        chosen = asking
    else:
        chosen = open_
        if chosen and not checkout.has_remote():
            raise PlaceError(
                "a stage elsewhere needs a DVC remote that both sides reach: `dvc remote add --default NAME URL`"
            )
        if chosen and not has_worker(choice.pool):
            raise PlaceError(
                f"no worker of the pool {choice.pool!r} is online: `prefect worker start --pool {choice.pool}`"
            )
    if chosen:
        commit_of(checkout.root)
    return dict.fromkeys(chosen, choice.pool)


def has_worker(pool: str) -> bool:
    """Whether a worker of the pool is online. False for a pool that does not exist."""
    with get_client(sync_client=True) as client:
        try:
            return any(worker.status == "ONLINE" for worker in client.read_workers_for_work_pool(pool))
        except ObjectNotFound:
            return False

"""Runs with other params than those of the checkout, which stays as it is; each becomes a DVC experiment.

`dvc exp show` compares them, `dvc exp apply NAME` brings one into the checkout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from prefect import get_run_logger

from stages.params_yaml import PARAMS_FILE
from stages.progress_bar import busy
from stages.recipe import override

from .stage import Checkout, StageError
from .worktree import experiments_lock, snapshot, worktree


@contextmanager
def experiment(root: Path, overrides: Sequence[str]) -> Iterator[Path]:
    """A folder with the files of the checkout, edits that are not committed included, and these params on top."""
    with worktree(root, snapshot(root)) as folder:
        override(overrides, folder / PARAMS_FILE)
        yield folder


def check_out(checkout: Checkout, stages: Iterable[str]) -> None:
    """Fetch from the cache what has not changed, in one process rather than in one for each stage."""
    with suppress(StageError):  # what cannot be fetched is the stage's own concern
        checkout.dvc(*("checkout", "--quiet", "--allow-missing", *stages), on_line=get_run_logger().debug)


def save_experiment(checkout: Checkout, stages: Iterable[str], *, name: str) -> None:
    """Save the folder as a DVC experiment. Only these stages count: the others' outputs may be of other params."""
    log = get_run_logger()
    try:
        with busy(f"DVC saves the experiment {name}", say=log.info), experiments_lock(checkout.root):
            checkout.dvc(*("exp", "save", "--force", "--name", name, *stages), on_line=log.debug)
    except StageError as error:
        raise RuntimeError(f"the experiment {name} could not be saved: {error}") from None
    log.info("saved as the DVC experiment %s; `dvc exp apply %s` applies it to the checkout", name, name)

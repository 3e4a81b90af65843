"""Where each stage of a task writes its outputs, below the project's folder. dvc.yaml names the same paths.

Also here: how to find the main checkout, the folder for what outlives a killed process, and the size limits of folders
that may be deleted at any time.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

NETWORK_NAME = "network.json"  # in each network's folder; a registered model has it too
# The networks in a weights folder: the one that metrics speak of and, where it was refit, the one that answers.
MEASURED, SERVED = "measured", "served"


def project_root(folder: Path = Path()) -> Path:
    """The main checkout of a folder in it or in a worktree of it; the folder itself where there is no checkout."""
    command = ["git", "-C", str(folder), "rev-parse", "--path-format=absolute", "--git-common-dir"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    common = Path(result.stdout.strip())
    return common.parent if result.returncode == 0 and common.name == ".git" else folder.absolute()


def resume_folder() -> Path:
    """UNROLL_RESUME, or else `.resume` in the main checkout: what a killed process leaves for the one after it. Where
    the variable is an address, states of trainings lie there (`resume_address`) and all else in `.resume`.
    """
    named = os.environ.get("UNROLL_RESUME")
    return Path(named).absolute() if named and "://" not in named else project_root() / ".resume"


def resume_address() -> str | None:
    """UNROLL_RESUME where it is an address that fsspec reads, such as s3://bucket/states, without a last slash."""
    named = os.environ.get("UNROLL_RESUME", "")
    return named.rstrip("/") if "://" in named else None


def by_last_use(files: Iterable[Path]) -> list[tuple[float, Path, int]]:
    """When each file was last used (the time of its last change), and its bytes, the oldest first.

    Those that another process deletes meanwhile are left out.
    """
    found = []
    for path in files:
        with suppress(FileNotFoundError):
            stat = path.stat()
            found.append((stat.st_mtime, path, stat.st_size))
    return sorted(found)


def delete_least_used(files: Iterable[Path], max_bytes: int) -> None:
    """Delete the least recently used files, until the others are `max_bytes` at the most."""
    aged = by_last_use(files)
    total = sum(size for _, _, size in aged)
    for _, path, size in aged:
        if total <= max_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size


def delete_older(files: Iterable[Path], seconds: float) -> None:
    """Delete the files that were last changed more than so many seconds ago."""
    for used, path, _ in by_last_use(files):
        if used < time.time() - seconds:
            path.unlink(missing_ok=True)


def search_path() -> str:
    """PYTHONPATH for a process that runs this checkout's modules from any folder: the checkout, then what is set."""
    here = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def network_folder(weights: Path, which: str = SERVED) -> Path:
    """The network in a weights folder that is MEASURED, or SERVED: the measured one where it was not refit. The folder
    itself where older code has written it, with the one network.
    """
    found = weights / which
    if found.is_dir():
        return found
    return weights / MEASURED if (weights / MEASURED).is_dir() else weights


class Paths:
    """The outputs of one task's stages; `dataset_task` is the task whose data it learns from, most often itself."""

    def __init__(self, task: str, dataset_task: str) -> None:
        self.task, self.dataset_task = task, dataset_task
        # download
        self.raw = Path("data", dataset_task, "raw")  # files as their host gives them
        # preprocess
        self.prepared = Path("data", dataset_task, "prepared")  # the sequence store, its description, rejected records
        self.preparation_metrics = Path("metrics", "preprocess", f"{dataset_task}.json")  # counts of records, by rule
        self.profile = Path("profiles", f"{dataset_task}.json")  # what the split that is learned looks like
        # train
        self.weights_pin = Path("sources", "weights", f"{task}.json")  # read: which weights it starts from, by hash
        self.weights = Path("weights", task)  # of each network, and what it takes to build it again
        self.measured = self.weights / MEASURED
        self.served = self.weights / SERVED  # where the network was refit
        self.network = self.measured / NETWORK_NAME  # the network's params, the data it knows, the training's signature
        self.learning_curve = Path("plots", task, "training.csv")  # a row an epoch
        self.steps = Path("plots", task, "steps.csv")  # a row a step, or the mean of several
        # judge
        self.judge = Path("weights", "judge", dataset_task)  # of the tasks that have one: what others are measured by
        # evaluate
        self.metrics = Path("metrics", f"{task}.json")  # of the test split, flat
        self.evaluation = Path("plots", task, "evaluation")  # predictions, slices, calibration, pictures
        self.card = Path("cards", task, "MODEL_CARD.md")
        # register
        self.receipt = Path("receipts", f"{task}.json")  # which model was handed to the registry
        # a night, which is no stage
        self.night = Path("nights", task)  # what the last night that looked at the task has found and decided
        self.night_record = self.night / "night.json"

    def resume(self, signature: str) -> Path:
        """The state of the training that has this signature, while it goes on. No output."""
        return resume_folder() / signature

"""Where each stage of a task puts what it makes, below the project's folder. dvc.yaml names the same paths.

Beside them: where the main checkout lies, and the folder for what outlives a killed process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NETWORK_NAME = "network.json"  # in the weights folder; a registered model has it too


def project_root(folder: Path = Path()) -> Path:
    """The main checkout of a folder in it or in a worktree of it; the folder itself where there is no checkout."""
    command = ["git", "-C", str(folder), "rev-parse", "--path-format=absolute", "--git-common-dir"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    common = Path(result.stdout.strip())
    return common.parent if result.returncode == 0 and common.name == ".git" else folder.absolute()


def resume_folder() -> Path:
    """UNROLL_RESUME, or else `.resume` in the main checkout: what a killed process leaves for the one after it."""
    named = os.environ.get("UNROLL_RESUME")
    return Path(named).absolute() if named else project_root() / ".resume"


def search_path() -> str:
    """PYTHONPATH for a process that runs this checkout's modules from any folder: the checkout, then what is set."""
    here = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def program_path() -> str:
    """PATH for a process that finds this Python, and what was installed beside it, before any other."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


@dataclass(frozen=True)
class Paths:
    """The outputs of one task's stages."""

    task: str
    dataset_task: str  # the task whose data it learns from, most often itself

    @property
    def raw(self) -> Path:
        """`download`: files as their host gives them."""
        return Path("data", self.dataset_task, "raw")

    @property
    def prepared(self) -> Path:
        """`preprocess`: the sequence store, its description, the rejected records."""
        return Path("data", self.dataset_task, "prepared")

    @property
    def preparation_metrics(self) -> Path:
        """`preprocess`: how many records were accepted, repaired and rejected, by rule."""
        return Path("metrics", "preprocess", f"{self.dataset_task}.json")

    @property
    def weights(self) -> Path:
        """`train`: weights and what it takes to build the network again."""
        return Path("weights", self.task)

    @property
    def network(self) -> Path:
        """`train`: the network's params, the data it knows, and the training's signature."""
        return self.weights / NETWORK_NAME

    @property
    def learning_curve(self) -> Path:
        """`train`: one row an epoch."""
        return Path("plots", self.task, "training.csv")

    @property
    def steps(self) -> Path:
        """`train`: one row a step, or the mean of several."""
        return Path("plots", self.task, "steps.csv")

    def resume(self, signature: str) -> Path:
        """`train`: the state of the training that has this signature, while it goes on. No output."""
        return resume_folder() / signature

    @property
    def metrics(self) -> Path:
        """`evaluate`: the metrics of the test split, flat."""
        return Path("metrics", f"{self.task}.json")

    @property
    def evaluation(self) -> Path:
        """`evaluate`: predictions beside the truth, slices, calibration, and pictures."""
        return Path("plots", self.task, "evaluation")

    @property
    def card(self) -> Path:
        """`evaluate`: the model's card, in Markdown."""
        return Path("cards", self.task, "MODEL_CARD.md")

    @property
    def receipt(self) -> Path:
        """`register`: which model was handed to the registry."""
        return Path("receipts", f"{self.task}.json")

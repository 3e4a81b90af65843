"""Trainings as processes: one rank or two, killed, asked to stop, restarted."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import psutil
import pytest
import yaml

from benchmarks.machine import free_port
from stages.recipe import apply
from stages.tasks.protocol import Task
from tests.pipeline.conftest import Clone, make_clone

TASKS = ("drawing", "forecast", "sketch", "translation", "video")
# At least 50 steps, and no dropout: it is drawn by rank.
SMALL = {
    "drawing": {"train": {"epochs": 2, "batch_size": 8}},
    "sketch": {"model": {"dropout": 0.0}, "train": {"epochs": 2, "batch_size": 8}},
    "video": {"model": {"dropout": 0.0}, "train": {"epochs": 4, "batch_size": 4}},
    "translation": {"train": {"batch_size": 32}},
    "forecast": {"model": {"dropout": 0.0}, "train": {"epochs": 2, "batch_size": 32}},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose data is prepared."""
    clone = make_clone(tmp_path_factory.mktemp("training"))
    overlay(clone, SMALL)
    for task in sorted({Task(task).description().dataset_task for task in TASKS}):
        clone.run(sys.executable, "-m", "stages.download", task)
        clone.run(sys.executable, "-m", "stages.preprocess", task)
    return clone


def overlay(clone: Clone, values: dict[str, object]) -> None:
    path = clone.folder / "overlay.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    apply(path, clone.folder / "params.yaml")
    path.unlink()


@dataclass
class Training:
    """`python -m stages.train TASK`, on its way."""

    clone: Clone
    process: subprocess.Popen[str]

    def wait_for_checkpoint(self) -> None:
        deadline = time.monotonic() + 120
        while not list(self.clone.folder.glob(".resume/*/checkpoint.safetensors")):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "no checkpoint within two minutes"
            time.sleep(0.005)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ended(self) -> tuple[int, str]:
        printed, errors = self.process.communicate(timeout=240)
        return self.process.returncode, printed + errors


def start(
    clone: Clone, task: str, environment: Mapping[str, str] = MappingProxyType({}), command: Sequence[str] = ()
) -> Training:
    """Start a task's training, by `command` where that is another way."""
    environment = {**os.environ, "UNROLL_CHECKPOINT_STEPS": "5", **environment}
    process = subprocess.Popen(
        command or [sys.executable, "-m", "stages.train", task],
        cwd=clone.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Training(clone, process)


def finish(training: Training) -> str:
    status, printed = training.ended()
    assert status == 0, printed
    return printed


def result(clone: Clone, task: str) -> dict[str, bytes]:
    """The bytes of all that a training writes."""
    weights = clone.folder / "weights" / task
    files = {path.relative_to(weights).as_posix(): path for path in weights.rglob("*") if path.is_file()}
    files |= {path.name: path for path in (clone.folder / "plots" / task).glob("*.csv")}
    return {name: path.read_bytes() for name, path in files.items()}


WRITTEN: dict[tuple[str, int], dict[str, bytes]] = {}


def undisturbed_result(clone: Clone, task: str, ranks: int) -> dict[str, bytes]:
    """What an undisturbed training of a task writes; params.yaml asks for that number of ranks afterwards."""
    overlay(clone, {task: {"train": {"ranks": ranks}}})
    if (task, ranks) not in WRITTEN:
        finish(start(clone, task))
        WRITTEN[task, ranks] = result(clone, task)
    return WRITTEN[task, ranks]


# Every step of the loop can be the last one before a stop: tests/unit/test_resume.py. Here it is real processes.
QUICK = (("forecast", 1), ("sketch", 2))
EACH = [(task, ranks) for task in TASKS for ranks in (1, 2)]


def slow(values: Sequence[Any], *, but: Sequence[Any]) -> list[Any]:
    """Parameters of a test that is slow `but` for some."""
    return [pytest.param(v, marks=[] if v in but else pytest.mark.slow, id=str(v)) for v in values]


@pytest.fixture(params=slow(EACH, but=QUICK))
def undisturbed(request: pytest.FixtureRequest, prepared: Clone) -> tuple[Clone, str, int, dict[str, bytes]]:
    """A task, a number of ranks, and what its undisturbed training wrote."""
    task, ranks = request.param
    return prepared, task, ranks, undisturbed_result(prepared, task, ranks)


@pytest.mark.parametrize("task", slow(TASKS, but=["sketch"]))
def test_ranks_change_no_loss(prepared: Clone, task: str) -> None:
    alone, together = (
        [float(row["loss"]) for row in csv.DictReader(written["steps.csv"].decode().splitlines())]
        for written in (undisturbed_result(prepared, task, ranks) for ranks in (1, 2))
    )
    assert len(alone) >= 50
    # Six digits are written. By the fiftieth step what was rounded differently may have reached the last but one.
    assert together[:50] == pytest.approx(alone[:50], rel=5e-5)


def test_killed_in_mid_training_and_started_again(undisturbed: tuple[Clone, str, int, dict[str, bytes]]) -> None:
    clone, task, ranks, written = undisturbed
    training = start(clone, task)
    training.wait_for_checkpoint()
    # The process that tells MLflow may stay a little, to close the run.
    children = [child for child in training.children() if "stages.tracking.mlflow_runs" not in child.cmdline()]
    training.process.kill()
    training.process.wait()
    assert (len(children) >= ranks) == (ranks > 1)
    # Ranks see that their launcher is gone: they would train on beside their successors.
    assert psutil.wait_procs(children, timeout=15)[1] == []
    assert "resuming after step" in finish(start(clone, task))
    assert result(clone, task) == written
    assert not list(clone.folder.glob(".resume/*/checkpoint.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sketch", "translation"])
def test_ranks_change_no_evaluation(prepared: Clone, task: str) -> None:
    overlay(prepared, {task: {"train": {"ranks": 1}}})
    finish(start(prepared, task))
    measured = []
    for ranks in (1, 2):
        overlay(prepared, {task: {"evaluate": {"ranks": ranks}}})
        prepared.run(sys.executable, "-m", "stages.evaluate", task)
        files = prepared.folder / "metrics" / f"{task}.json", *(prepared.folder / "plots" / task).rglob("*")
        measured.append({path.name: path.read_bytes() for path in files if path.is_file()})
    assert measured[0].keys() >= {f"{task}.json", "predictions.csv"}
    assert measured[0] == measured[1]


@pytest.mark.slow
def test_two_machines_train_together(prepared: Clone) -> None:
    """Two launchers of one rank each, as on two machines, by torchrun's own variables."""
    written = undisturbed_result(prepared, "sketch", 2)
    together = {
        "PET_NNODES": "2",
        "PET_RDZV_BACKEND": "static",
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(free_port()),
        "PET_LOCAL_ADDR": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    launchers = [start(prepared, "sketch", {**together, "PET_NODE_RANK": str(node)}) for node in range(2)]
    for launcher in launchers:
        finish(launcher)
    assert result(prepared, "sketch") == written


@pytest.fixture
def sketch(prepared: Clone, request: pytest.FixtureRequest) -> tuple[Clone, dict[str, bytes]]:
    """The sketch task with a number of ranks, and what its undisturbed training writes."""
    return prepared, undisturbed_result(prepared, "sketch", request.param)


@pytest.mark.slow
@pytest.mark.parametrize("sketch", [1, 2], indirect=True)
def test_asked_to_stop_it_saves_and_says_so_with_its_status(sketch: tuple[Clone, dict[str, bytes]]) -> None:
    clone, written = sketch
    training = start(clone, "sketch")
    training.wait_for_checkpoint()
    training.process.send_signal(signal.SIGTERM)
    status, printed = training.ended()
    assert status == 75, printed
    assert "the next start resumes" in printed
    assert "Traceback" not in printed
    assert "resuming after step" in finish(start(clone, "sketch"))
    assert result(clone, "sketch") == written


@pytest.mark.slow
@pytest.mark.parametrize("sketch", [2], indirect=True)
def test_a_rank_that_dies_is_started_again_and_resumes(sketch: tuple[Clone, dict[str, bytes]]) -> None:
    clone, written = sketch
    training = start(clone, "sketch")
    training.wait_for_checkpoint()
    ranks = [child for child in training.children() if "spawn_main" in " ".join(child.cmdline())]
    ranks[-1].kill()
    assert "resuming after step" in finish(training)
    assert result(clone, "sketch") == written


@pytest.mark.slow
@pytest.mark.parametrize("sketch", [2], indirect=True)
def test_an_error_that_would_come_again_is_one_line_and_no_restart(sketch: tuple[Clone, dict[str, bytes]]) -> None:
    clone, _ = sketch
    overlay(clone, {"sketch": {"train": {"monitor": "bleu"}}})
    try:
        status, printed = start(clone, "sketch").ended()
    finally:
        overlay(clone, {"sketch": {"train": {"monitor": "accuracy"}}})
    assert status == 1
    assert printed.count("train.monitor: found 'bleu'; this network measures: accuracy, loss") == 1
    assert "Traceback" not in printed


def test_a_launcher_with_another_number_of_ranks_is_refused(prepared: Clone) -> None:
    overlay(prepared, {"sketch": {"train": {"ranks": 2}}})
    command = ["torchrun", "--nproc-per-node=1", "--master-port=0", "-m", "stages.train", "sketch"]
    printed = prepared.run(*command, ok=False)
    assert "train.ranks is 2, but torchrun started 1; they must be equal" in printed

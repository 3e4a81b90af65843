"""Trainings that are killed at random, with all that `train` leaves compared; and ranks whose launcher dies early."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.tasks.protocol import Task
from tests.pipeline.conftest import Clone, make_clone

from .test_training import SMALL, finish, overlay, result, slow, start

CHAINS, KILLS = 12, 4


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the data of sketch is prepared."""
    made = make_clone(tmp_path_factory.mktemp("killed"))
    overlay(made, SMALL)
    prepare(made, "sketch")
    return made


def prepare(clone: Clone, task: str) -> None:
    owner = Task(task).description().dataset_task
    if not (clone.folder / "data" / owner / "prepared").is_dir():
        for verb in ("download", "preprocess"):
            clone.run(sys.executable, "-m", f"stages.{verb}", owner)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sketch", "forecast", "translation", "drawing"])
def test_whenever_it_is_killed_a_training_ends_with_the_same_bytes(clone: Clone, task: str) -> None:
    prepare(clone, task)
    overlay(clone, {task: {"train": {"ranks": 1, "threads": 1}}})
    printed = clone.run(sys.executable, "-m", "tests.system.killed_often", task, "1", str(CHAINS))
    assert printed.count("the same bytes") == CHAINS


def ranks(folder: Path) -> list[psutil.Process]:
    """The processes that train in a folder, launchers not among them."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        command = " ".join(process.info["cmdline"] or [])
        started = "multiprocessing.spawn" in command or ("-m stages.train" in command and "torchrun" not in command)
        if process.info["cwd"] == str(folder) and started and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@pytest.fixture
def two_ranks(clone: Clone) -> Iterator[tuple[Clone, dict[str, bytes]]]:
    """The clone with two ranks for sketch, and what an undisturbed training of theirs writes."""
    overlay(clone, {"sketch": {"train": {"ranks": 2, "threads": 1}}})
    finish(start(clone, "sketch"))
    yield clone, result(clone, "sketch")
    overlay(clone, {"sketch": {"train": {"ranks": 1}}})


TORCHRUN = ("torchrun", "--nproc-per-node=2", "--master-port=0", "-m", "stages.train", "sketch")


@pytest.mark.parametrize("launcher", slow(["python", "torchrun"], but=["python"]))
def test_ranks_whose_launcher_dies_while_they_start_are_gone_and_write_nothing(clone: Clone, launcher: str) -> None:
    overlay(clone, {"sketch": {"train": {"ranks": 2, "threads": 1}}})
    written = [clone.folder / "weights" / "sketch", clone.folder / "plots" / "sketch"]
    for delay in (0.0, 0.3, 1.5):
        for path in written:
            clone.run("rm", "-rf", str(path))
        training = start(clone, "sketch", command=TORCHRUN if launcher == "torchrun" else ())
        own = {training.process.pid}
        deadline = time.monotonic() + 60
        while not (born := [rank for rank in ranks(clone.folder) if rank.pid not in own]):
            assert training.process.poll() is None, training.ended()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(delay)
        training.process.kill()
        training.process.wait()
        born = [rank for rank in ranks(clone.folder) if rank.pid not in own]
        assert psutil.wait_procs(born, timeout=30)[1] == []
        assert ranks(clone.folder) == []
        assert not any(path.exists() for path in written)


@pytest.mark.slow
def test_ranks_whose_launcher_is_killed_at_random_end_with_the_same_bytes(
    two_ranks: tuple[Clone, dict[str, bytes]],
) -> None:
    clone, written = two_ranks
    draw = random.Random(20)
    for _ in range(2):
        for _ in range(KILLS):
            training = start(clone, "sketch", {"UNROLL_CHECKPOINT_STEPS": str(draw.choice([1, 2, 5]))})
            time.sleep(draw.uniform(0, 12))  # seconds: imports, steps, the end
            alone = [rank for rank in ranks(clone.folder) if rank.pid != training.process.pid]
            if alone and draw.random() < 0.5:
                draw.choice(alone).kill()  # its launcher starts all of them again
                time.sleep(draw.uniform(0, 8))
            training.process.kill()
            training.process.wait()
            assert psutil.wait_procs(ranks(clone.folder), timeout=30)[1] == []
        finish(start(clone, "sketch"))
        assert result(clone, "sketch") == written
        assert not list(clone.folder.glob(".resume/*/checkpoint*"))

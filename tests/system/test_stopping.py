"""A flow that is told to stop, or whose worker dies, leaves no process behind, and the next run goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .house import House, Run, stage_processes, wait_until

pytestmark = pytest.mark.system

ALL_OVER = 15.0  # seconds after which no process of a stage may be left


def long_training(seed: int) -> dict[str, Any]:
    """A training of minutes, beside the checkout; each seed is another one."""
    overrides = [f"forecast.train.{key}" for key in ("epochs=2000", "patience=2000", f"seed={seed}")]
    return {"tasks": ["forecast"], "up_to": "train", "where": "here", "overrides": overrides}


@pytest.fixture(autouse=True)
def nothing_is_left(flows: House) -> Iterator[None]:
    shutil.rmtree(flows.clone.folder / ".resume", ignore_errors=True)
    yield
    assert not stage_processes(flows.clone.folder)


def trains(flows: House) -> bool:
    """Whether a training is at work and has saved something."""
    commands = [" ".join(process.cmdline()) for process in stage_processes(flows.clone.folder)]
    saved = list((flows.clone.folder / ".resume").glob("*/checkpoint.safetensors"))
    return bool(saved) and any("-m stages.train" in command for command in commands)


def in_training(flows: House, seed: int) -> Run:
    run = flows.start("pipeline/pipeline", options=long_training(seed))
    run.wait_for_task("train@forecast")
    wait_until(lambda: trains(flows), "a training at work")
    return run


def all_over(flows: House, since: float) -> None:
    wait_until(lambda: not stage_processes(flows.clone.folder), "no process of a stage", seconds=ALL_OVER)
    assert time.monotonic() - since < ALL_OVER


def test_cancelled_in_the_ui(flows: House) -> None:
    before = flows.clone.run("git", "status", "--porcelain")
    run = in_training(flows, seed=1)
    since = time.monotonic()
    run.cancel()
    all_over(flows, since)
    assert run.wait() == "CANCELLED"
    assert flows.clone.run("git", "status", "--porcelain") == before
    assert not list((flows.clone.folder / ".prefect" / "worktrees").iterdir())


def test_a_killed_flow(flows: House) -> None:
    run = in_training(flows, seed=2)
    since = time.monotonic()
    run.process().kill()
    all_over(flows, since)
    assert run.wait() == "CRASHED"
    worktrees = flows.clone.folder / ".prefect" / "worktrees"
    assert list(worktrees.glob("*/params.yaml"))
    options = {"tasks": ["translation"], "up_to": "download", "where": "here"}
    assert flows.start("pipeline/pipeline", options=options).wait() == "COMPLETED"
    assert not list(worktrees.iterdir())  # what nobody holds


@pytest.mark.slow
def test_a_killed_worker_and_the_run_after_it(flows: House) -> None:
    run = in_training(flows, seed=3)
    since = time.monotonic()
    flows.servers.running()["worker-cpu"].send_signal(signal.SIGKILL)
    all_over(flows, since)
    assert run.wait() == "CRASHED"
    flows.servers.up()  # starts what is not running
    again = in_training(flows, seed=3)
    wait_until(lambda: "resuming after step" in again.logs(), "the line that says so", seconds=20)
    again.cancel()
    assert again.wait() == "CANCELLED"


@pytest.mark.slow
def test_ctrl_c(flows: House, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.run", "forecast", "--up-to", "train"]
    settings = [part for override in long_training(4)["overrides"] for part in ("--set", override)]
    # Into a file: nobody reads a pipe here, and thousands of epochs would fill it.
    with (tmp_path / "printed.log").open("wb") as printed:
        process = subprocess.Popen(
            [*command, *settings],
            cwd=flows.clone.folder,
            env={**os.environ, **flows.servers.environment},
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: trains(flows), "a training at work")
        since = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to all of the group
        all_over(flows, since)
        assert process.wait(timeout=30) != 0
    finally:
        process.kill()

"""Trainings beside a real MLflow server that dies and comes back, and beside none at all."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.machine import free_port

pytestmark = pytest.mark.system
REPOSITORY = Path(__file__).resolve().parents[2]

# A training that tells one step for each line of its stdin (its number), and ends with the input.
TRAINING = """
import os, sys
from stages.params import load
from stages.tasks.protocol import Task
from stages.tracking import training_run

training_run.content_md5 = lambda path: "data.dir"
resumed = int(sys.argv[1]) if sys.argv[1:] else None
task, params = Task("forecast"), load()["forecast"]
with training_run.training_run(task, params, "abc", parameters=7, devices="1 rank, CPU", resumed_step=resumed) as run:
    for line in sys.stdin:
        run.metrics({"step_loss": 1 / (int(line) + 1)}, step=int(line))
        print(line.strip(), flush=True)
"""


@dataclass
class Store:
    """A sqlite store in a folder, and the address by which trainings reach it."""

    folder: Path
    uri: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.uri,
            "UNROLL_RESUME": str(self.folder / "resume"),
            "OMP_NUM_THREADS": "1",
        }

    def spools(self) -> list[Path]:
        return sorted((self.folder / "resume" / "mlflow").glob("*.jsonl"))

    def rows(self, query: str) -> list[tuple]:
        connection = sqlite3.connect(f"file:{self.folder / 'mlflow.db'}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # no table yet
            return []
        finally:
            connection.close()

    def steps(self) -> list[int]:
        """The steps in the history of all runs, with those that stand there twice twice."""
        if not (self.folder / "mlflow.db").is_file():
            return []
        return [step for (step,) in self.rows("select step from metrics where key = 'step_loss' order by step")]

    def runs(self) -> list[str]:
        return [status for (status,) in self.rows("select status from runs where lifecycle_stage = 'active'")]

    def train(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", TRAINING, *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def deliver(self) -> str:
        command = [sys.executable, "-c", "from stages.tracking.mlflow_runs import deliver; deliver()"]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@contextmanager
def server(folder: Path, port: int) -> Iterator[Callable[[], None]]:
    """A real MLflow server; yields a function that kills it, as `kill -9` would."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)

    def kill() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        wait_for(lambda: answers(port), "the server answers")
        yield kill
    finally:
        kill()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_for(condition: Callable[[], object], what: str, seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def tell(process: subprocess.Popen[str], steps: range) -> None:
    """Have a training tell these steps, and wait until it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    for step in steps:
        process.stdin.write(f"{step}\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == str(step)


def end(process: subprocess.Popen[str]) -> str:
    """Let a training end; returns what it said on stderr."""
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


@pytest.mark.slow
def test_a_server_that_dies_in_mid_run_has_everything_once_after_it_came_back(tmp_path):
    port = free_port()
    store = Store(tmp_path, f"http://me:hunter2@127.0.0.1:{port}")
    with server(tmp_path, port) as kill:
        training = store.train()
        tell(training, range(50))
        wait_for(lambda: len(store.steps()) == 50, "the first steps can be watched")
        kill()
        started = time.monotonic()
        tell(training, range(50, 500))
        assert time.monotonic() - started < 5  # nothing waits for the store
    with server(tmp_path, port):
        tell(training, range(500, 510))
        wait_for(lambda: len(store.steps()) == 510, "what was left arrives while the training goes on")
        said = end(training)
    assert store.steps() == list(range(510))
    assert store.runs() == ["FINISHED"]
    assert store.spools() == []
    assert "hunter2" not in said


def test_a_training_without_a_reachable_store_is_sent_later(tmp_path):
    port = free_port()
    away = Store(tmp_path, f"http://me:hunter2@127.0.0.1:{port}")
    training = away.train()
    tell(training, range(100))
    assert training.stderr is not None
    said = training.stderr.readline()
    started = time.monotonic()
    said += end(training)
    assert time.monotonic() - started < 10
    assert said.count("\n") <= 2  # that the store is away, and perhaps that not all could be sent
    assert f"unroll: MLflow at http://127.0.0.1:{port}: " in said
    assert "hunter2" not in said
    (spooled,) = away.spools()
    assert "hunter2" not in spooled.read_text()
    assert f":{port}" not in spooled.read_text()  # the digits alone may stand in a number
    with server(tmp_path, port):
        assert away.deliver() == ""
    assert away.steps() == list(range(100))
    assert away.runs() == ["FINISHED"]
    assert away.spools() == []


def test_a_killed_and_resumed_training_is_one_run_in_which_no_step_stands_twice(tmp_path):
    store = Store(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    first = store.train()
    tell(first, range(30))
    wait_for(lambda: len(store.steps()) == 30, "the first steps have arrived")
    tell(first, range(30, 40))
    first.kill()
    first.communicate()
    second = store.train("20")
    tell(second, range(20, 60))
    assert end(second) == ""
    assert store.steps() == list(range(60))
    assert store.runs() == ["FINISHED"]
    assert store.spools() == []


def test_a_killed_training_is_closed_by_whoever_delivers(tmp_path):
    store = Store(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    training = store.train()
    tell(training, range(10))
    training.kill()
    training.communicate()
    wait_for(lambda: not store.spools() or store.deliver(), "the spool is delivered")
    assert store.steps() == list(range(10))
    assert store.runs() == ["KILLED"]


def test_without_a_server_the_store_is_complete_and_quiet_when_the_training_ends(tmp_path):
    store = Store(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    training = store.train()
    tell(training, range(10))
    assert end(training) == ""
    assert store.steps() == list(range(10))
    tags = dict(store.rows("select key, value from tags"))
    assert tags["unroll.signature"] == "abc"
    assert json.loads(store.rows("select dataset_source from datasets")[0][0]) == {"path": "data/forecast/prepared"}

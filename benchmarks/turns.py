"""Trainings in processes of their own that take turns, an epoch each, so that whatever else runs hits all alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .data import REPOSITORY

_LOCAL = "127.0.0.1"


class Trainee:
    """A process that prints a line of JSON when it is ready and after each epoch, and goes on when it reads a line.

    `start_up` is how many seconds it took to get ready. A context manager: at the end of the block the process is gone.
    """

    def __init__(self, name: str, command: Sequence[str], *, epochs: int) -> None:
        self.name = name
        self.epochs = epochs
        self.answers: list[dict[str, Any]] = []
        # As the stages set it; the cores are few, and those who wait their turn must not spin.
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}
        environment.pop("OMP_NUM_THREADS", None)  # each side sets its own, or takes all cores
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready = self._answer()
        self.start_up = time.perf_counter() - started

    def turn(self) -> None:
        """Let it train one epoch and measure; its answer, with the seconds of the whole turn, goes to `answers`."""
        assert self._process.stdin is not None
        started = time.perf_counter()
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.answers.append({**answer, "turn_seconds": time.perf_counter() - started})

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended with {self._process.wait()} before its time; see above")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()


def in_turns(trainees: Sequence[Trainee]) -> None:
    """An epoch of each, then the next epoch of each that has one left."""
    for epoch in range(max(trainee.epochs for trainee in trainees)):
        for trainee in trainees:
            if epoch < trainee.epochs:
                trainee.turn()
                print(f"  {trainee.name}: {_shown(trainee.answers[-1])}", flush=True)


def engine_command(specification: Path, ranks: int) -> list[str]:
    """The command that trains by `benchmarks.fitting` in some ranks."""
    if ranks == 1:
        return [sys.executable, "-m", "benchmarks.fitting", str(specification)]
    launcher = [
        "env",
        "GLOO_SOCKET_IFNAME=lo",
        "OMP_NUM_THREADS=1",
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={ranks}",
    ]
    where = ["--rdzv-backend=c10d", f"--rdzv-endpoint={_LOCAL}:0", f"--local-addr={_LOCAL}"]
    return [*launcher, *where, "-m", "benchmarks.fitting", str(specification)]


def _shown(answer: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in answer.items() if isinstance(value, (int, float)))

"""Trainings in processes of their own that take turns, an epoch each, so that whatever else runs slows all alike.

A process prints a line of JSON when it is ready and after each epoch, and goes on when it reads a line. `engine` starts
one that trains by the engine (`main` is its program), `textbook_keras.py` is another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .data import REPOSITORY

if TYPE_CHECKING:
    from stages.models.batch import Dataset
    from stages.models.network import Network
    from stages.params import TaskParams

_LOCAL = "127.0.0.1"


class Trainee:
    """One process; `start_up` is the seconds it took to get ready. A context manager that ends it."""

    def __init__(self, name: str, command: Sequence[str], *, epochs: int) -> None:
        self.name = name
        self.epochs = epochs
        self.answers: list[dict[str, Any]] = []
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready = self._read()
        self.start_up = time.perf_counter() - started

    def turn(self) -> None:
        """Let it train one epoch and measure; its answer, with the seconds of the whole turn, goes to `answers`."""
        assert self._process.stdin is not None
        started = time.perf_counter()
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._read()
        self.answers.append({**answer, "turn_seconds": time.perf_counter() - started})
        numbers = {name: value for name, value in self.answers[-1].items() if isinstance(value, (int, float))}
        print(f"  {self.name}: " + "  ".join(f"{name} {value:.4g}" for name, value in numbers.items()), flush=True)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended with {self._process.wait()} before its time; see above")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=None if len(self.answers) >= self.epochs else 20)  # it may have to save
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()


def in_turns(*trainees: Trainee) -> None:
    """An epoch of each, then the next epoch of each that has one left."""
    for epoch in range(max(trainee.epochs for trainee in trainees)):
        for trainee in trainees:
            if epoch < trainee.epochs:
                trainee.turn()


def engine(
    name: str,
    task: str,
    prepared: Path,
    params: TaskParams,
    *,
    measured: str,
    textbook: bool = False,
    examples: int = 0,
    start: Path | None = None,
    saved: Path | None = None,
) -> Trainee:
    """A training by the engine in its own ranks, measured on the split `measured` after each epoch.

    `textbook` takes the textbook's network and inputs in place of the task's own. It learns from `examples`, evenly
    over the split (0: all), starts from the weights of the network in `start` as `train.start_from` does, and leaves
    the network of its best epoch in `saved`.
    """
    specification = {
        "task": task,
        "prepared": str(prepared),
        "params": params.model_dump(by_alias=True),
        "measured": measured,
        "textbook": textbook,
        "examples": examples,
        "start": str(start or ""),
        "saved": str(saved or ""),
    }
    command = [sys.executable]
    if (ranks := params.train.ranks) > 1:
        command = ["env", "GLOO_SOCKET_IFNAME=lo", "OMP_NUM_THREADS=1", sys.executable, "-m", "torch.distributed.run"]
        command += [f"--nproc-per-node={ranks}", "--rdzv-backend=c10d"]
        command += [f"--rdzv-endpoint={_LOCAL}:0", f"--local-addr={_LOCAL}"]
    command += ["-m", "benchmarks.trainee", json.dumps(specification)]
    return Trainee(name, command, epochs=params.train.epochs)


def main() -> None:
    """The program of one rank."""
    from stages.data.files import fresh_folder
    from stages.data.prepared import open_prepared
    from stages.models.weights import save_network
    from stages.tasks.protocol import Task
    from stages.training import distributed, inference, loop

    specification = json.loads(sys.argv[1])
    params = Task(specification["task"]).params_type().model_validate(specification["params"])
    ended = False

    def answer(values: dict[str, Any]) -> None:
        """Rank 0 speaks for all, and the others wait for it in the next step."""
        nonlocal ended
        if distributed.rank() == 0:
            print(json.dumps(values), flush=True)
            ended = not sys.stdin.readline()

    def on_epoch(record: loop.Epoch) -> None:
        figures = ("seconds", "sequences_per_second", "data_wait_share", "padding_share")
        measured = {f"measured_{name}": value for name, value in record.validation.items()}
        answer({name: getattr(record, name) for name in figures} | {"loss": record.train["loss"]} | measured)

    with distributed.joined(params.train.ranks, "train"):
        distributed.configure(seed=params.train.seed, threads=params.train.threads)
        network, train, measured = _network_and_data(specification, params)
        weights = sum(weight.numel() for weight in network.parameters())
        answer({"examples": len(train), "measured": len(measured), "weights": weights})
        with suppress(loop.Stopped):
            fit = loop.fit(network, train, measured, params.train, on_epoch=on_epoch, stop_requested=lambda: ended)
            network.calibrate(lambda function: inference.predict(network, measured, params.train.batch_size, function))
            if specification["saved"] and distributed.rank() == 0:
                training = {"epochs": len(fit.epochs), "best_epoch": fit.best_epoch}
                prepared = Path(specification["prepared"])
                description = open_prepared(prepared)[1]
                with fresh_folder(Path(specification["saved"])) as folder:
                    save_network(folder, network, params.model, description, prepared=prepared, training=training)


def _network_and_data(specification: dict[str, Any], params: TaskParams) -> tuple[Network, Dataset, Dataset]:
    """The network to train, the examples to learn from and those to measure on."""
    from stages.data.evenly import evenly
    from stages.data.prepared import open_prepared
    from stages.models.weights import WEIGHTS_NAME, start_from
    from stages.tasks.protocol import Task
    from stages.training.debug_modes import Subset

    folder = Path(specification["prepared"])
    if specification["textbook"]:
        from . import textbook

        return textbook.network_and_data(folder, params, specification["measured"])
    model = Task(specification["task"]).model()
    network = model.build(params.model, open_prepared(folder)[1])
    network.load_pretrained(folder)
    if specification["start"]:
        weights = Path(specification["start"], WEIGHTS_NAME)
        start_from(network, weights.read_bytes(), str(weights))
    train: Dataset = model.dataset(folder, "train", params, augment=True)
    if 0 < specification["examples"] < len(train):
        train = Subset(train, evenly(len(train), specification["examples"]), augment=True)
    return network, train, model.dataset(folder, specification["measured"], params, augment=False)


if __name__ == "__main__":
    main()

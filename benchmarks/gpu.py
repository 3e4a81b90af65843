"""What a training's step reaches on a GPU, beside a bare loop, and what it spends its time on.

    python -m benchmarks.gpu                      all of it, at most 8 minutes on one GPU
    python -m benchmarks.gpu --tiny               a few small steps, on whatever is here, to see that it runs
    python -m benchmarks.gpu sketch --json FILE   one task; figures to a file after each part

It makes its own data and needs no more than torch, numpy, pyarrow, pydantic, PyYAML, safetensors and tqdm. For each
task, with the network of params.yaml and larger batches:

    bare loop     what one would write by hand, on batches that lie on the device
    made before   the engine on the same batches, made beforehand, in the CPU's memory
    step          the engine as it trains: its own threads make the batches; in float32, bfloat16 and compiled
    GPU works     the kernels' time in a step (torch.profiler), of the step's time without the profiler
    LSTM alone    forward and backward of the network's recurrent layers, on the shapes that they get

Then ranks: one over NCCL, two on one device over gloo, the CPU; and how far their first losses lie apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from stages.data.prepared import open_prepared
from stages.models.network import Network
from stages.params import TaskParams, load
from stages.tasks.protocol import Task
from stages.training import distributed, loop
from stages.training.debug_modes import Subset
from stages.training.distributed import device

from . import gpu_data, gpu_ranks
from .bare_loop import BareLoop, PreparedBatches

NOT_HERE = "not on a GPU"
OUT_OF_TIME = "not run: out of time"
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    batch_size: dict[str, int]
    steps: int  # of an epoch
    epochs: int  # the first warms up
    compiled: bool
    minutes: float  # after which nothing more is begun: a compilation takes one


FULL = Size({"sketch": 512, "video": 128, "translation": 512}, steps=40, epochs=4, compiled=True, minutes=6.5)
TINY = Size({"sketch": 8, "video": 4, "translation": 8}, steps=3, epochs=2, compiled=False, minutes=6.5)


class Measured:
    """Figures by name, written as they come; what fails or comes too late says so in its place."""

    def __init__(self, path: Path | None, minutes: float) -> None:
        self.figures: dict[str, Any] = {"machine": machine()}
        self._path = path
        self._ends = time.perf_counter() + 60 * minutes

    def add(self, group: str, name: str, measure: Callable[[], Any]) -> None:
        """Measure, unless the time is over."""
        if time.perf_counter() > self._ends:
            value: Any = OUT_OF_TIME
        else:
            try:
                value = measure()
            except Exception as error:  # a minute on a GPU is dear: the others are measured all the same
                value = f"failed: {type(error).__name__}: {str(error).strip()[:300]}"
        self.figures.setdefault(group, {})[name] = value
        print(f"{group:12s} {name:24s} {json.dumps(value)}", flush=True)
        if self._path is not None:
            self._path.write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else NOT_HERE
    return {"gpu": gpu, "cuda": torch.version.cuda, "torch": torch.__version__, "python": platform.python_version()}


class Subject:
    """A task's network and data."""

    def __init__(self, name: str, folder: Path, size: Size) -> None:
        self.task, self._size = Task(name), size
        self.folder = gpu_data.make(name, folder, size.batch_size[name] * size.steps)
        base: TaskParams = load(gpu_data.PARAMS_FILE)[name]
        changes = {
            **{"epochs": size.epochs, "patience": size.epochs, "batch_size": size.batch_size[name], "batch_tokens": 0},
            **{"schedule": "constant", "warmup_fraction": 0.0, "learning_rate": 1e-3, "ema_decay": 0.0},
            **{"threads": 1, "ranks": 1, "mode": "full", "start_from": "", "choose": "best", "monitor": "loss"},
        }
        self.params = base.model_copy(update={"train": base.train.model_copy(update=changes)})
        self.train = self.task.model().dataset(self.folder, "train", self.params, augment=True)
        whole = self.task.model().dataset(self.folder, "validation", self.params, augment=False)
        self.validation = Subset(whole, np.arange(min(len(whole), size.batch_size[name])), augment=False)

    def network(self) -> Network:
        """With fresh weights, on the device."""
        distributed.configure(seed=1, threads=1)
        network: Network = self.task.model().build(self.params.model, open_prepared(self.folder)[1])
        return network.to(device())

    def changed(self, **changes: Any) -> Any:
        return self.params.train.model_copy(update=changes)

    def bare(self, precision: str) -> dict[str, float]:
        """Sequences a second of the bare loop."""
        batches = [batch.to(device()) for batch in self._made().batches.values()]
        bare = BareLoop(self.network(), self.changed(precision=precision), device())
        seconds = [bare.epoch(batches) for _ in range(self._size.epochs)][1:]
        return {"sequences_per_second": round(len(self.train) / median(seconds), 1)}

    def made_before(self) -> dict[str, float]:
        """Sequences a second of the engine on batches that are in the CPU's memory."""
        made = self._made()
        epochs = loop.fit(
            self.network(),
            made,
            self.validation,
            self.params.train,
            on_epoch=lambda record: made.prepare(self.params.train, epoch=record.epoch + 1),
        ).epochs[1:]
        return {"sequences_per_second": round(median(record.sequences_per_second for record in epochs), 1)}

    def step(self, *, shared: bool = True, **changes: Any) -> dict[str, Any]:
        """The engine as it trains, with the `shared` time of the GPU where asked."""
        if device().type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        epochs = loop.fit(self.network(), self.train, self.validation, self.changed(**changes)).epochs[1:]
        seconds = median(record.seconds for record in epochs) / self._size.steps
        found: dict[str, Any] = {
            "sequences_per_second": round(median(record.sequences_per_second for record in epochs), 1),
            "milliseconds_a_step": round(1000 * seconds, 3),
            "data_wait_share": round(median(record.data_wait_share for record in epochs), 4),
            "gpu_megabytes": round(torch.cuda.max_memory_allocated() / 2**20) if device().type == "cuda" else NOT_HERE,
        }
        if epochs[-1].compiled_graphs:
            found["compiled_graphs"] = epochs[-1].compiled_graphs
        if shared:
            found["gpu_works_share"] = self._gpu_works(seconds, **changes)
        return found

    def _gpu_works(self, seconds_a_step: float, **changes: Any) -> float | str:
        """The kernels' time in a step, of the step's."""
        if device().type != "cuda":
            return NOT_HERE
        profiler = profile(activities=[ProfilerActivity.CUDA])

        def on_epoch(record: loop.Epoch) -> None:
            profiler.start() if record.epoch == 0 else profiler.stop()

        loop.fit(
            self.network(),
            self.train,
            Subset(self.validation, np.arange(1), augment=False),
            self.changed(**changes, epochs=2, patience=2),
            on_epoch=on_epoch,
        )
        kernels = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
        return round(kernels / self._size.steps / seconds_a_step, 3)

    def recurrent_alone(self, precision: str) -> dict[str, float] | str:
        """Sequences a second of the network's recurrent layers by themselves: the limit of whatever is around them."""
        batch = next(iter(self._made().batches.values())).to(device())
        network = self.network()
        calls: list[tuple[nn.RNNBase, Tensor]] = []
        with watched(network, calls):
            network.train()
            network.losses(batch)
        if not calls:
            return "no recurrent layers"
        inputs = [(layer, torch.randn_like(values, requires_grad=True)) for layer, values in calls]
        half = precision != "float32"

        def once() -> None:
            for layer, values in inputs:
                with torch.autocast(device().type, dtype=torch.bfloat16, enabled=half):
                    output = layer(values)[0]
                output.backward(torch.ones_like(output))

        seconds = [timed(once) for _ in range(3 + self._size.steps)][3:]
        return {"sequences_per_second": round(len(batch.lengths) / median(seconds), 1)}

    def _made(self) -> PreparedBatches:
        made = PreparedBatches(self.train, np.arange(len(self.train)), augment=True)
        made.prepare(self.params.train, epoch=0)
        return made


@contextmanager
def watched(network: Network, calls: list[tuple[nn.RNNBase, Tensor]]) -> Iterator[None]:
    """Inside the block, each call of a recurrent layer is noted with what it reads."""

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(module, nn.RNNBase)
        calls.append((module, args[0].detach().float()))

    hooks = [m.register_forward_pre_hook(note) for m in network.modules() if isinstance(m, nn.RNNBase)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def timed(work: Callable[[], None]) -> float:
    """Seconds until the device is done with it."""
    started = time.perf_counter()
    work()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = tuple(FULL.batch_size)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"{', '.join(tasks)}; all where none is named")
    parser.add_argument("--tiny", action="store_true", help="a few small steps: the numbers say nothing")
    parser.add_argument("--json", type=Path, help="write the figures to this file, after each part")
    args = parser.parse_args()
    if wrong := [task for task in args.tasks if task not in tasks]:
        parser.error(f"found {', '.join(wrong)}; allowed: {', '.join(tasks)}")
    if not (args.tiny or torch.cuda.is_available()):
        parser.error(
            f"torch {torch.__version__} sees no GPU; --tiny runs a few steps on the CPU, to test the benchmark"
        )
    size = TINY if args.tiny else FULL
    measured = Measured(args.json, size.minutes)
    print(json.dumps(measured.figures["machine"]), flush=True)
    with tempfile.TemporaryDirectory() as work:
        subjects = {task: Subject(task, Path(work, task), size) for task in args.tasks or tasks}
        for task, subject in subjects.items():
            for precision in PRECISIONS:
                measured.add(task, f"bare loop, {precision}", partial(subject.bare, precision))
                measured.add(task, f"step, {precision}", partial(subject.step, precision=precision))
                measured.add(task, f"LSTM alone, {precision}", partial(subject.recurrent_alone, precision))
            measured.add(task, "made before, float32", subject.made_before)
        first, subject = next(iter(subjects.items()))
        for name in gpu_ranks.SIDES:
            measured.add("ranks", name, partial(gpu_ranks.side, name, first, subject.folder))
        measured.add("ranks", "losses apart", partial(gpu_ranks.apart, measured.figures["ranks"]))
        for precision in PRECISIONS[::-1] if size.compiled else ():
            for task, subject in subjects.items():
                compiled = partial(subject.step, shared=False, precision=precision, compile=True)
                measured.add(task, f"step, {precision}, compiled", compiled)
    print(table(measured.figures))


def table(figures: dict[str, Any]) -> str:
    """Sequences a second and what goes with them, in Markdown."""
    names = ("sequences_per_second", "milliseconds_a_step", "data_wait_share", "gpu_works_share", "gpu_megabytes")
    lines = [f"| task | side | {' | '.join(name.replace('_', ' ') for name in names)} |", "|---" * 7 + "|"]
    for task in FULL.batch_size:
        for side, values in figures.get(task, {}).items():
            found = values if isinstance(values, dict) else {names[0]: values}
            cells = [str(found.get(name, "")) for name in names]
            lines.append(f"| {task} | {side} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

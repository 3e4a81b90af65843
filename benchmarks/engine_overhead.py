"""The engine against a bare PyTorch loop: what step records, sampling and prefetching cost.

Both train the same network on the same batches in the same order, made beforehand, with the same optimizer and the same
clipping, in one process, an epoch in turn.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from stages.data.prepared import open_prepared
from stages.tasks.protocol import Task
from stages.training import distributed, loop
from stages.training.debug_modes import Subset

from . import data
from .bare_loop import BareLoop, PreparedBatches

STEPS = 100  # of an epoch, or as many as the sample has


def measure(task: Task, work: Path, *, pairs: int) -> dict[str, Any]:
    """The overhead on a task's sample, in per cent of the bare loop's time; each side's first epoch does not count."""
    folder, params = data.sample(task, work)
    changes = {"epochs": pairs + 1, "patience": pairs + 1, "threads": 1}
    params = data.overlaid(params, {"train": {**changes, "schedule": "constant", "warmup_fraction": 0.0}})
    distributed.configure(seed=1, threads=1)
    description, model = open_prepared(folder)[1], task.model()
    size = params.train.batch_size
    train = model.dataset(folder, "train", params, augment=True)
    made = PreparedBatches(train, np.arange(len(train))[: STEPS * size], augment=True)
    made.prepare(params.train, epoch=0)
    validation = model.dataset(folder, "validation", params, augment=False)
    few = Subset(validation, np.arange(len(validation))[:size], augment=False)
    bare = BareLoop(model.build(params.model, description), params.train)
    seconds: list[tuple[float, float]] = []

    def on_epoch(record: loop.Epoch) -> None:
        seconds.append((record.seconds, bare.epoch(list(made.batches.values()))))
        made.prepare(params.train, epoch=record.epoch + 1)

    loop.fit(model.build(params.model, description), made, few, params.train, on_epoch=on_epoch)
    overheads = [100 * (ours / theirs - 1) for ours, theirs in seconds[1:]]
    ours, theirs = (median(side) for side in zip(*seconds[1:], strict=True))
    figures = {
        "overhead_percent": median(overheads),
        "overhead_percent_lowest": min(overheads),
        "overhead_percent_highest": max(overheads),
        "engine_milliseconds_a_step": 1000 * ours / len(made.batches),
        "bare_milliseconds_a_step": 1000 * theirs / len(made.batches),
        "steps": len(made.batches),
        "pairs": len(overheads),
    }
    print(f"  {task.name}: " + "  ".join(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)
    return figures

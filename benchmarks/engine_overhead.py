"""The engine against a bare PyTorch loop: what clipping by record, curves, plans and the feed cost.

Both train the same network on the same batches in the same order, made beforehand, with the same optimizer and the same
clipping, in one process, an epoch in turn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from stages.data.prepared import open_prepared
from stages.models.batch import Batch, Dataset
from stages.models.network import Network
from stages.params import TrainParams
from stages.tasks.protocol import Task
from stages.training import distributed, loop
from stages.training.batch_sampler import BucketBatchSampler
from stages.training.debug_modes import Subset
from stages.training.progress import Epoch

from . import data

STEPS = 100  # of an epoch, or as many as the sample has
PAIRS = 10


def run(work: Path, *, tasks: Sequence[str], quick: bool) -> dict[str, Any]:
    """The engine's overhead on each task's sample, in per cent of the bare loop's time."""
    return {task: measured(Task(task), work, pairs=2 if quick else PAIRS) for task in tasks}


def measured(task: Task, work: Path, *, pairs: int) -> dict[str, Any]:
    """One task; the first epoch of both sides does not count."""
    folder, params = data.sample(task, work)
    description = open_prepared(folder)[1]
    model = task.model()
    train_params = params.train.model_copy(
        update={
            "epochs": pairs + 1,
            "patience": pairs + 1,
            "threads": 1,
            "schedule": "constant",
            "warmup_fraction": 0.0,
        }
    )
    distributed.configure(seed=1, threads=1)
    whole = model.dataset(folder, "train", params, augment=True)
    some = Subset(whole, np.arange(min(len(whole), STEPS * train_params.batch_size)), augment=True)
    validation = model.dataset(folder, "validation", params, augment=False)
    validation = Subset(validation, np.arange(min(len(validation), train_params.batch_size)), augment=False)
    made = Made(some, train_params)
    made.make(0)
    bare = BareLoop(model.build(params.model, description), train_params)
    seconds: list[tuple[float, float]] = []

    def on_epoch(record: Epoch) -> None:
        seconds.append((record.seconds, bare.epoch(made.batches)))
        made.make(record.epoch + 1)

    loop.fit(model.build(params.model, description), made, validation, train_params, on_epoch=on_epoch)
    later = seconds[1:]
    overheads = [100 * (ours / theirs - 1) for ours, theirs in later]
    steps = len(
        BucketBatchSampler(
            made.lengths, train_params.batch_size, seed=1, epoch=0, batch_tokens=train_params.batch_tokens
        )
    )
    figures = {
        "overhead_percent": median(overheads),
        "overhead_percent_lowest": min(overheads),
        "overhead_percent_highest": max(overheads),
        "engine_milliseconds_a_step": 1000 * median(ours for ours, _ in later) / steps,
        "bare_milliseconds_a_step": 1000 * median(theirs for _, theirs in later) / steps,
        "steps": steps,
        "pairs": len(later),
    }
    print(f"  {task.name}: " + "  ".join(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)
    return figures


class Made:
    """A dataset whose batches of one epoch have been made beforehand."""

    def __init__(self, dataset: Dataset, params: TrainParams) -> None:
        self.lengths = dataset.lengths
        self._dataset = dataset
        self._params = params
        self._by_first: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self._dataset)

    def make(self, epoch: int) -> None:
        """Make all batches of an epoch, in the plan's order."""
        params = self._params
        plan = BucketBatchSampler(
            self.lengths, params.batch_size, seed=params.seed, epoch=epoch, batch_tokens=params.batch_tokens
        )
        self._by_first = {int(step[0]): self._dataset.batch(step, epoch=epoch) for step in plan}

    @property
    def batches(self) -> list[Batch]:
        return list(self._by_first.values())

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        return self._by_first[int(examples[0])]

    def name(self, example: int) -> str:
        return self._dataset.name(example)


class BareLoop:
    """What one would write by hand."""

    def __init__(self, network: Network, params: TrainParams) -> None:
        self._network = network
        self._params = params
        matrices = [p for p in network.parameters() if p.ndim >= 2]
        others = [p for p in network.parameters() if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": params.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=params.learning_rate, fused=True)

    def epoch(self, batches: Sequence[Batch]) -> float:
        """Train on the batches; returns seconds."""
        self._network.train()
        started = time.perf_counter()
        for batch in batches:
            self._optimizer.zero_grad(set_to_none=True)
            total, weight = self._network.losses(batch)["loss"]
            (total / weight).backward()
            nn.utils.clip_grad_norm_(self._network.parameters(), self._params.max_grad_norm)
            self._optimizer.step()
        return time.perf_counter() - started

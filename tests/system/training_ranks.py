"""What three ranks do together, over gloo on one machine: `run` is called in each of them, spawned."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as process_group
from torch import Tensor, nn

from stages.models.batch import Batch
from stages.models.network import Network
from stages.params import TrainParams
from stages.training import distributed, gradients, loop
from stages.training.checkpoint import Checkpoints
from tests.unit.test_loop import PARAMS, Sums

RANKS = 3
TOGETHER = PARAMS.model_copy(update={"epochs": 2, "batch_size": 9, "schedule": "constant", "accumulation_steps": 2})


class Deep(Network):
    """Several layers, so that there are several buckets; the first is read by a rank with a long sequence alone, and
    one by none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rare = nn.Linear(1, 4)
        self.body = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 16), nn.Tanh())
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(16, 1)

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        assert batch.targets is not None
        inputs = batch.values.sum(dim=1)
        outputs = self.head(self.body(inputs)).squeeze(1)
        if bool((batch.lengths > 7).any()):
            outputs = outputs + self.rare(inputs).sum(dim=1)
        return {"loss": ((outputs - batch.targets).square().sum(), float(len(outputs)))}


class Stopping:
    """Asked to stop after so many steps, on one rank alone."""

    def __init__(self, after: int, rank: int = 1) -> None:
        self._left, self._rank = after, rank

    def __call__(self) -> bool:
        self._left -= 1
        return self._left == 0 and distributed.rank() == self._rank


def trained(folder: Path, params: TrainParams = TOGETHER, **hooks: Any) -> tuple[dict[str, Tensor], list[float]]:
    """Weights and losses by step."""
    distributed.configure(seed=1, threads=1)
    network = Deep()
    checkpoints = Checkpoints(folder, seconds=1e9, steps=int(os.environ.get("UNROLL_CHECKPOINT_STEPS", "0")))
    history = loop.fit(network, Sums(36), Sums(12, seed=1), params, checkpoints=checkpoints, **hooks)
    return network.state_dict(), [record.loss for record in history.step_records]


def same(one: tuple[dict[str, Tensor], list[float]], other: tuple[dict[str, Tensor], list[float]]) -> bool:
    return one[1] == other[1] and all(torch.equal(one[0][name], other[0][name]) for name in one[0])


def resumed(folder: Path) -> None:
    """A training that is stopped on one rank after any step goes on with the same bits, with one bucket or several."""
    undisturbed = trained(folder / "whole")
    everyone = distributed.all_gather(undisturbed)
    assert all(same(everyone[0], other) for other in everyone[1:])
    assert all(torch.equal(undisturbed[0][f"unused.{name}"], tensor) for name, tensor in fresh("unused").items())
    assert not torch.equal(undisturbed[0]["rare.weight"], fresh("rare")["weight"])
    for step in (1, 3, 4, 7):
        try:
            trained(folder / str(step), stop_requested=Stopping(step))
        except loop.Stopped:
            assert same(trained(folder / str(step)), undisturbed)
        else:
            raise AssertionError("nobody stopped")
    with small_buckets():
        several = trained(folder / "several")
        for name, tensor in undisturbed[0].items():
            torch.testing.assert_close(several[0][name], tensor, rtol=1e-4, atol=1e-6)
        try:
            trained(folder / "again", stop_requested=Stopping(5))
        except loop.Stopped:
            assert same(trained(folder / "again"), several)


def fresh(layer: str) -> dict[str, Tensor]:
    distributed.configure(seed=1, threads=1)
    return getattr(Deep(), layer).state_dict()


def small_buckets() -> Any:
    return patch.multiple(gradients, BUCKET=40, LAST_BUCKET=10)


def waits_change_no_bit(folder: Path) -> None:
    """The host that looks at the figures once in seven steps ends with the bits of one that looks each time."""
    often = trained(folder / "often")
    with patch.dict(os.environ, {"UNROLL_STEPS_BETWEEN_WAITS": "7"}):
        assert same(trained(folder / "rarely"), often)
        try:
            trained(folder / "stopped", stop_requested=Stopping(2))
        except loop.Stopped:
            assert same(trained(folder / "stopped"), often)
        else:
            raise AssertionError("nobody stopped")


def names_what_is_not_finite(folder: Path) -> None:
    """The step, the layer and the sequences, with the weights as they were, however late the host looks."""
    data = Sums(36)
    data.sequences[0][:] = torch.nan
    told = []
    for waits in ("1", "4"):
        with patch.dict(os.environ, {"UNROLL_STEPS_BETWEEN_WAITS": waits}):
            distributed.configure(seed=1, threads=1)
            network = Deep()
            message = raised(network, data, TOGETHER.model_copy(update={"batch_size": 8}))
            told.append((message, [weight.tolist() for weight in network.parameters()]))
    assert "loss is nan, not finite; first in body.0 (Linear); sequences" in told[0][0], told[0][0]
    assert "sum 0" in told[0][0], told[0][0]
    assert all(other == told[0] for other in [*told, *distributed.all_gather(told[1])])


class Greedy(Deep):
    """Fills the memory of rank 1 in its `call`th forward pass, or in the backward pass after it."""

    def __init__(self, call: int, error: Exception, *, backward: bool) -> None:
        super().__init__()
        self._left, self._error, self._backward = call, error, backward

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        found = super().losses(batch)
        self._left -= 1
        if self._left == 0 and distributed.rank() == 1:
            if not self._backward:
                raise self._error
            found["loss"][0].register_hook(self._fail)
        return found

    def _fail(self, gradient: Tensor) -> None:
        raise self._error


def tells_all_ranks_of_full_memory(folder: Path) -> None:
    """In the first forward pass, in a later one, in a backward pass; whatever the error looks like."""
    of_gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    of_cpu = RuntimeError("[enforce fail at alloc_cpu.cpp:130] DefaultCPUAllocator: can't allocate memory: you tried 9")
    for waits, (call, error, backward) in product(
        ("1", "3"), ((1, of_gpu, False), (5, of_cpu, False), (1, of_gpu, True), (6, of_gpu, True))
    ):
        with patch.dict(os.environ, {"UNROLL_STEPS_BETWEEN_WAITS": waits}), small_buckets():
            distributed.configure(seed=1, threads=1)
            message = raised(Greedy(call, error, backward=backward), Sums(36), TOGETHER)
        step = (call - 1) // TOGETHER.accumulation_steps
        assert message.startswith(f"epoch 0, step {step} (step {step} of all): out of memory on cpu, rank 1: "), message
        assert "sequences of up to" in message, message
        assert message.endswith("lower train.batch_size or train.batch_tokens, or raise train.accumulation_steps")


def raised(network: Network, data: Sums, params: TrainParams) -> str:
    """What a training says that cannot go on."""
    try:
        loop.fit(network, data, Sums(12, seed=1), params)
    except loop.TrainingError as error:
        return str(error)
    raise AssertionError("nothing was raised")


CHECKS = (resumed, waits_change_no_bit, names_what_is_not_finite, tells_all_ranks_of_full_memory)


def run(rank: int, folder: Path, check: str) -> None:
    """One rank, joined to the others by a file."""
    process_group.init_process_group(
        "gloo", f"file://{folder / 'join'}", timedelta(minutes=2), rank=rank, world_size=RANKS
    )
    try:
        next(c for c in CHECKS if c.__name__ == check)(folder)
    finally:
        process_group.destroy_process_group()


def without_a_file(rank: int) -> None:
    """One of several ranks lacks a file, while the others wait for its message."""
    if distributed.rank() == rank:
        raise FileNotFoundError(2, "No such file", "data/prepared/sketch")
    distributed.all_gather(1)

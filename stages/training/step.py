"""A step of a training: forward and backward over this rank's share, the sums over all ranks, the optimizer.

What a step came to stays on the device until `Steps.figures` is called: a GPU whose host waits after each step stands
still while the next one is prepared. A step whose loss or gradient is not finite changes no weight, and neither does a
step after it, so the host finds the weights as they were and says where the numbers were lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..metrics import higher_is_better
from ..models.batch import Batch, Dataset
from ..models.counter_rng import mix
from ..models.network import Network
from ..params import TrainParams
from . import distributed, memory
from .batch_sampler import shard
from .compiled import CompiledLosses
from .diagnose import explain
from .distributed import StageError
from .inference import for_device, stacked
from .optimizer import Optimizer

_STEPS_BETWEEN_WAITS = 10  # on a GPU; the CPU is done with a step when its call returns


class TrainingError(StageError):
    """Training cannot go on; the message says at which epoch and step and why."""


class Part(NamedTuple):
    """This rank's share of a step, or one of `accumulation_steps` parts of it."""

    batch: Batch
    counts: bool  # a step may have fewer examples than there are parts: who gets none computes one for nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step's place and what it takes."""

    epoch: int
    within: int  # its number in the epoch
    number: int  # and in the whole training
    learning_rate: float
    examples: np.ndarray
    parts: Sequence[Part]

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.within} (step {self.number} of all)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a step came to, over all ranks."""

    step: Step
    losses: Mapping[str, tuple[float, float]]  # sums and weights by name
    loss: float
    gradient_norm: float  # before clipping
    stop: bool  # whether any rank was asked to stop


def steps_between_waits(device: torch.device, params: TrainParams) -> int:
    """In how many steps the host waits for the device once. It changes no result, so it is no param:
    UNROLL_STEPS_BETWEEN_WAITS, or 10 on a GPU and 1 on a CPU; all ranks must have the same.

    Always 1 in float16, whose scale decides at each step whether a gradient that is not finite is a fault.
    """
    by_device = _STEPS_BETWEEN_WAITS if device.type == "cuda" else 1
    chosen = int(os.environ.get("UNROLL_STEPS_BETWEEN_WAITS", by_device))
    return 1 if params.precision == "float16" else max(1, chosen)


class Steps:
    """Takes the steps of a training."""

    def __init__(
        self, network: Network, dataset: Dataset, params: TrainParams, optimizer: Optimizer, device: torch.device
    ) -> None:
        self._network = network
        self._dataset = dataset
        self._params = params
        self._optimizer = optimizer
        self._device = device
        self._compiled = CompiledLosses(network) if params.compile else None
        self._names: list[str] = []  # of the losses
        self._taken: list[tuple[Step, Tensor]] = []  # whose figures, float64, are on the device
        self._lost = torch.zeros((), device=device)  # 1 from the first step on whose numbers are not finite
        self._full = ""  # what this rank has to say since its memory was full

    @property
    def compiled_graphs(self) -> int:
        """How many graphs were compiled for this training's steps so far, by this process; 0 without compilation."""
        return self._compiled.graphs if self._compiled else 0

    def parts(self, examples: np.ndarray, epoch: int) -> list[Part]:
        """This rank's parts of a step, on the CPU."""
        count = self._params.accumulation_steps
        parts = []
        for number in range(distributed.rank() * count, (distributed.rank() + 1) * count):
            mine = shard(examples, number, distributed.ranks() * count)
            batch = self._dataset.batch(mine if len(mine) else examples[:1], epoch=epoch)
            parts.append(Part(for_device(batch, self._device), len(mine) > 0))
        return parts

    def take(self, step: Step, *, stop: bool) -> None:
        """Take a step; `stop` says whether this rank was asked to stop, which all ranks learn with the step's figures.

        Raises TrainingError where a network does not measure what the best epoch is chosen by, and, for a rank that is
        alone, where memory is full: several learn of it with the figures.
        """
        try:
            if not self._full:
                self._backward(step, stop=stop)
        except (MemoryError, RuntimeError) as error:
            if not memory.is_full(error):
                raise
            batches = [part.batch for part in step.parts]
            self._full = f"{step}: {memory.described(self._device, distributed.rank(), batches)}"
        if self._full:  # behind the block above, which holds on to all that has filled the memory
            if not self._names:
                self._agree([])
            if distributed.ranks() == 1:
                raise TrainingError(self._full)
            self._optimizer.give_up(self._message([], stop=stop))
            sums = self._optimizer.reduce()
            self._taken.append((step, torch.cat([sums, sums.new_zeros(3)])))
            return
        sums = self._optimizer.reduce()
        first = 2 * self._names.index("loss")
        total, weight = sums[first], sums[first + 1]
        loss = torch.where(weight != 0, total / weight, 0.0)
        norm = self._optimizer.clip(weight)
        sound = loss.isfinite() & self._optimizer.is_sound(norm)
        self._lost = torch.maximum(self._lost, 1.0 - sound.float())
        self._optimizer.step(step.learning_rate, step.number, skip=self._lost)
        self._taken.append((step, torch.cat([sums, torch.stack([loss, norm, self._lost.double()])])))

    def figures(self) -> Iterator[Figures]:
        """Wait for the device; yields what each step came to that was taken since the last call.

        Raises TrainingError at one that is not finite, and where a rank's memory is full.
        """
        taken, self._taken = self._taken, []
        for (step, _), row in zip(taken, torch.stack([figures for _, figures in taken]).tolist(), strict=True):
            *sums, stop, full, loss, norm, lost = row
            if full:
                raise TrainingError(next(filter(None, distributed.all_gather(self._full))))
            if lost:
                raise TrainingError(f"{step}: {self._reason(step, loss, norm, newest=step is taken[-1][0])}")
            losses = dict(zip(self._names, zip(sums[::2], sums[1::2], strict=True), strict=True))
            yield Figures(step=step, losses=losses, loss=loss, gradient_norm=norm, stop=bool(stop))

    def _backward(self, step: Step, *, stop: bool) -> None:
        """Forward and backward over this rank's parts, with the gradients of all ranks on their way at the end."""
        precision = self._params.precision
        self._optimizer.start_step(len(step.examples))
        sums: list[Tensor] = []
        for number, (batch, counts) in enumerate(self._seeded(step)):
            with torch.autocast(self._device.type, dtype=getattr(torch, precision), enabled=precision != "float32"):
                losses = (self._compiled or self._network.losses)(batch)
            if not self._names:
                self._agree(sorted(losses))
            sums.append(stacked(losses, self._device) * float(counts))
            if number == len(step.parts) - 1:
                self._optimizer.start_last(self._message(sums, stop=stop))
            self._optimizer.backward(losses["loss"][0], counts=counts)

    def _agree(self, names: list[str]) -> None:
        """In a process's first step, all ranks tell each other what their network measures, which says how long a
        step's message is; a rank whose memory was full before it knew ends all of them.

        Raises TrainingError.
        """
        if told := next(filter(None, distributed.all_gather(self._full)), None):
            raise TrainingError(told)
        self._names = names
        _check_monitor(names, self._params.monitor)  # now, not when the first epoch is over

    def _message(self, sums: Sequence[Tensor], *, stop: bool) -> Tensor:
        """What ranks tell each other beside gradients, float64: the parts' sums of losses and weights, whether to stop
        and whether memory is full.
        """
        numbers = torch.stack(list(sums)).sum(dim=0).flatten() if sums else self._lost.new_zeros(2 * len(self._names))
        flags = [torch.full((1,), float(flag), device=self._device) for flag in (stop, bool(self._full))]
        return torch.cat([numbers.double(), *(flag.double() for flag in flags)])

    def _seeded(self, step: Step) -> Iterator[Part]:
        """The parts on the device, one by one, the generators seeded for each.

        Dropout is drawn by seed, step, rank and part, so there is no state of generators to keep. `torch.manual_seed`
        asks for a stack trace for each kind of device that is not there: a percent of a small step.
        """
        for number, (batch, counts) in enumerate(step.parts):
            state = np.zeros(1, dtype=np.uint64)
            for counter in (self._params.seed, step.number, distributed.rank(), number):
                state = mix(state * np.uint64(31) + np.uint64(counter + 1))
            seed = int(state[0] >> np.uint64(1))
            torch.default_generator.manual_seed(seed)
            if self._device.type == "cuda":
                torch.cuda.manual_seed(seed)
            yield Part(batch.to(self._device), counts)

    def _reason(self, step: Step, loss: float, norm: float, *, newest: bool) -> str:
        """Why a step is not finite. The weights are those that it was computed with; their gradients are, too, where it
        is the newest, and else they are computed again.
        """
        if not newest:
            self._backward(step, stop=False)
            self._optimizer.reduce()
        names = [self._dataset.name(int(example)) for example in step.examples]
        return explain(self._network, (part.batch for part in self._seeded(step)), names, loss=loss, norm=norm)


def _check_monitor(names: Sequence[str], monitor: str) -> None:
    measured = f"this network measures: {', '.join(names)}"
    try:
        higher_is_better(monitor)
    except ValueError as error:
        raise TrainingError(f"train.monitor: {error}; {measured}") from None
    if monitor not in names:
        raise TrainingError(f"train.monitor: found {monitor!r}; {measured}")

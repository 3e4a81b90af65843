"""A network over a whole dataset, without training it: its losses, its outputs. Ranks share the batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..models.batch import Batch, Dataset, by_length
from ..models.network import Losses, Network
from ..progress_bar import track
from . import distributed
from .prefetch import Prefetcher

Result = TypeVar("Result")


def measure(network: Network, dataset: Dataset, batch_size: int) -> dict[str, float]:
    """The network's losses over a whole dataset, each divided once by its whole weight; over all ranks."""
    device = _device_of(network)
    names: list[str] = []
    sums: list[Tensor] = []  # of the batches, on the device, which the host waits for once
    batches = list(by_length(dataset.lengths, batch_size))[distributed.rank() :: distributed.ranks()]
    with evaluating(network):
        prefetched = Prefetcher(lambda i: for_device(dataset.batch(batches[i]), device), range(len(batches)))
        for _, batch in track(prefetched, "measure", unit="batches", total=len(batches)):
            losses = network.losses(batch.to(device))
            names = sorted(losses)
            sums.append(stacked(losses, device))
    totals = Totals()
    for row in torch.stack(sums).tolist() if sums else ():
        totals.add(dict(zip(names, row, strict=True)))
    whole = Totals()
    for part in distributed.all_gather(totals):
        whole.add(part.sums)
    return whole.means()


def predict(
    network: Network, dataset: Dataset, batch_size: int, function: Callable[[Batch], Tensor] | None = None
) -> np.ndarray:
    """`function(batch)` (or `network(batch)`) for every example, `(examples, …)`, in the dataset's order."""
    device = _device_of(network)
    if not len(dataset):
        raise ValueError("nothing to predict: the dataset has no examples")

    def outputs_of(examples: np.ndarray) -> np.ndarray:
        return (function or network)(dataset.batch(examples).to(device)).cpu().numpy()

    with evaluating(network):
        parts = map_batches(dataset.lengths, batch_size, outputs_of, title="predict")
    outputs = np.empty((len(dataset), *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
    for examples, part in parts:
        outputs[examples] = part
    return outputs


def map_batches(
    lengths: np.ndarray, batch_size: int, function: Callable[[np.ndarray], Result], *, title: str
) -> list[tuple[np.ndarray, Result]]:
    """Batches of examples of like lengths, each with `function(examples)`, computed by all ranks together.

    Ranks share whole batches, so that each gets the same bits as from one process.
    """
    batches = list(by_length(lengths, batch_size))
    mine = batches[distributed.rank() :: distributed.ranks()]
    batches_done = track(mine, title, unit="batches")
    results = distributed.interleaved(distributed.all_gather([function(examples) for examples in batches_done]))
    return list(zip(batches, results, strict=True))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """No dropout, no gradients inside the block."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


@dataclass
class Totals:
    """Sums of `[total, weight]` by name, in float64: means are taken once, over everything."""

    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, sums: Mapping[str, Sequence[float]]) -> None:
        for name, (total, weight) in sums.items():
            pair = self.sums.setdefault(name, [0.0, 0.0])
            pair[0] += total
            pair[1] += weight

    def means(self) -> dict[str, float]:
        """Each total divided by its weight; NaN where nothing was weighed."""
        return {name: total / weight if weight else math.nan for name, (total, weight) in self.sums.items()}


def for_device(batch: Batch, device: torch.device) -> Batch:
    """A batch on the CPU in memory that the device can copy from by itself, where it is a GPU."""
    return batch.pinned() if device.type == "cuda" else batch


def stacked(losses: Losses, device: torch.device) -> Tensor:
    """`(names, 2)` float64: the total and the weight of each loss, names in alphabetical order.

    Numbers are written by the device itself: to be copied there they would wait for all that it has still to do.
    """
    values = [
        value.detach().to(device, torch.float64)
        if isinstance(value, Tensor)
        else torch.full((), value, dtype=torch.float64, device=device)
        for _, pair in sorted(losses.items())
        for value in pair
    ]
    return torch.stack(values).view(-1, 2)


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device

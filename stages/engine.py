"""The training loop: AdamW, clipping, warm-up, early stopping, the best weights back at the end.

One process here. What data parallel needs is laid: batches come from a plan that is a pure function of seed and
epoch, and losses are sums with weights, so that ranks can add them before they divide.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .batching import Batch, Dataset, by_length, padding_share, plan
from .models.network import Network, Sums
from .params import TrainParams


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which epoch and step and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """What one epoch came to. `seconds` and `sequences_per_second` are for MLflow alone: outputs stay pure."""

    epoch: int
    train: Mapping[str, float]
    validation: Mapping[str, float]
    learning_rate: float
    gradient_norm: float  # mean over the steps, before clipping
    padding_share: float  # 0 to 1
    seconds: float
    sequences_per_second: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """The history of a training; the network holds the weights of `best_epoch`."""

    epochs: tuple[Epoch, ...]
    best_epoch: int


def device() -> torch.device:
    """The device that this process trains on: its CUDA device where one is visible, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def configure(*, seed: int, threads: int) -> None:
    """Make this process deterministic: same seed, same number of threads, same bits on the same kind of machine."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        # The CPU's kernels that we use are deterministic as they are, and this call imports the compiler: 4 s.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def fit(
    network: Network,
    train: Dataset,
    validation: Dataset,
    params: TrainParams,
    *,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fit:
    """Train `network` and leave the weights of its best epoch in it.

    The best epoch has the best validation value of `params.monitor`: the lowest if it is `loss` or ends in `_error`,
    else the highest. Raises TrainingError for a loss that is not finite and for a monitor that the network does not
    measure.
    """
    where = device()
    network.to(where)
    optimizer = torch.optim.AdamW(_weight_groups(network, params.weight_decay), lr=params.learning_rate)
    steps_per_epoch = math.ceil(len(train) / params.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(params, steps_per_epoch * params.epochs))
    best_value, best_epoch, best_weights = math.inf, -1, {}
    history: list[Epoch] = []
    for epoch in range(params.epochs):
        started = time.perf_counter()
        batches = plan(train.lengths, params.batch_size, seed=params.seed, epoch=epoch)
        totals = _Totals()
        norms: list[Tensor] = []
        network.train()
        with _bar(batches, f"epoch {epoch + 1}/{params.epochs}") as bar:
            for step, examples in enumerate(bar):
                batch = train.batch(examples, epoch=epoch).to(where)
                sums = network.losses(batch)
                total, weight = sums["loss"]
                loss = total / weight
                if not torch.isfinite(loss):
                    raise TrainingError(
                        f"epoch {epoch}, step {step}: loss is {loss.item()}; examples {examples[:8].tolist()} …"
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                limit = params.clip_norm or math.inf
                norms.append(nn.utils.clip_grad_norm_(network.parameters(), limit))
                optimizer.step()
                schedule.step()
                totals.add(sums)
                if not bar.disable:
                    bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
        seconds = time.perf_counter() - started
        record = Epoch(
            epoch=epoch,
            train=totals.means(),
            validation=measure(network, validation, params.batch_size),
            learning_rate=float(schedule.get_last_lr()[0]),
            gradient_norm=float(torch.stack(norms).mean()),
            padding_share=padding_share(train.lengths, batches),
            seconds=seconds,
            sequences_per_second=len(train) / seconds,
        )
        history.append(record)
        on_epoch(record)
        value = _monitored(record.validation, params.monitor)
        if value < best_value:
            best_value, best_epoch = value, epoch
            best_weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        elif epoch - best_epoch >= params.patience:
            break
    if best_epoch < 0:
        raise TrainingError(f"{params.monitor} was never a finite number on the validation split")
    network.load_state_dict(best_weights)
    return Fit(epochs=tuple(history), best_epoch=best_epoch)


def measure(network: Network, dataset: Dataset, batch_size: int) -> dict[str, float]:
    """The network's losses over a whole dataset, each divided once by its whole weight."""
    totals = _Totals()
    with evaluating(network):
        for examples in by_length(dataset.lengths, batch_size):
            totals.add(network.losses(dataset.batch(examples).to(_where(network))))
    return totals.means()


def predict(
    network: Network, dataset: Dataset, batch_size: int, answer: Callable[[Batch], Tensor] | None = None
) -> np.ndarray:
    """`answer(batch)` (or `network(batch)`) for every example, `(examples, …)`, in the dataset's order."""
    call = answer or network
    outputs: np.ndarray | None = None
    with evaluating(network):
        for examples in by_length(dataset.lengths, batch_size):
            part = call(dataset.batch(examples).to(_where(network))).cpu().numpy()
            if outputs is None:
                outputs = np.empty((len(dataset), *part.shape[1:]), dtype=part.dtype)
            outputs[examples] = part
    if outputs is None:
        raise ValueError("nothing to predict: the dataset has no examples")
    return outputs


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


def _where(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _weight_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for matrices, none for biases and norms, which do not overfit by growing."""
    weights = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]


def _schedule(params: TrainParams, steps: int) -> Callable[[int], float]:
    """The learning rate's factor at a step: a linear rise over the first `warmup` share, then flat or half a cosine."""
    rise = max(1, round(params.warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        if params.schedule == "constant":
            return 1.0
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return factor


def _monitored(values: Mapping[str, float], monitor: str) -> float:
    """The monitored value, turned so that less is better."""
    if monitor not in values:
        raise TrainingError(f"train.monitor: found {monitor!r}; this network measures: {', '.join(sorted(values))}")
    value = values[monitor]
    return value if monitor == "loss" or monitor.endswith("_error") else -value


def _bar(batches: list[np.ndarray], title: str) -> tqdm[np.ndarray]:
    return tqdm(batches, desc=title, unit="step", leave=False, disable=None)


class _Totals:
    """Sums of `(total, weight)` by name; the tensors stay on their device until the means are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, sums: Sums) -> None:
        for name, (total, weight) in sums.items():
            now = (total.detach().double(), torch.as_tensor(weight, dtype=torch.float64))
            before = self._sums.get(name)
            self._sums[name] = now if before is None else (before[0] + now[0], before[1] + now[1])

    def means(self) -> dict[str, float]:
        return {name: float(total / weight) for name, (total, weight) in self._sums.items()}

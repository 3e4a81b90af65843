"""What one would write by hand in place of the engine, and batches made beforehand for both."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from stages.models.batch import Batch
from stages.models.network import Network
from stages.params import TrainParams
from stages.training.batch_sampler import BucketBatchSampler
from stages.training.debug_modes import Subset

_CPU = torch.device("cpu")


class PreparedBatches(Subset):
    """Examples whose batches of one epoch have been made beforehand; `batches` are in the sampler's order."""

    def prepare(self, params: TrainParams, *, epoch: int) -> None:
        """Make all batches of an epoch."""
        sampler = BucketBatchSampler(
            self.lengths, params.batch_size, seed=params.seed, epoch=epoch, batch_tokens=params.batch_tokens
        )
        self.batches = {int(step[0]): super(PreparedBatches, self).batch(step, epoch=epoch) for step in sampler}

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        return self.batches[int(examples[0])]


class BareLoop:
    """What one would write by hand."""

    def __init__(self, network: Network, params: TrainParams, device: torch.device = _CPU) -> None:
        self._network = network.to(device)
        self._params = params
        self._device = device
        groups = [
            {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": params.weight_decay},
            {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=params.learning_rate, fused=True)

    def epoch(self, batches: Sequence[Batch]) -> float:
        """Train on the batches, which lie on the device; returns seconds."""
        self._network.train()
        half = self._params.precision != "float32"
        started = time.perf_counter()
        for batch in batches:
            self._optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=half):
                total, weight = self._network.losses(batch)["loss"]
            (total.float() / weight).backward()
            nn.utils.clip_grad_norm_(self._network.parameters(), self._params.max_grad_norm)
            self._optimizer.step()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

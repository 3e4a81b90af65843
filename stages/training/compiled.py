"""A network's losses, compiled by `torch.compile` for the device at hand.

The compiler reads the Python of a forward pass and fuses what it finds into few kernels: convolutions with what follows
them, norms, attention, a decoder's step. Recurrent layers stay calls of cuDNN's or the CPU's own kernel.
"""

from __future__ import annotations

import torch

from ..models.batch import Batch
from ..models.network import Losses, Network


class CompiledLosses:
    """Called as `network.losses` is, for gradients. `graphs` is how many were compiled in this process so far."""

    def __init__(self, network: Network) -> None:
        self._losses = torch.compile(network.losses)

    def __call__(self, batch: Batch) -> Losses:
        """Batch and time, which differ from step to step, are marked dynamic: one graph serves all of them, where each
        would else be compiled anew.
        """
        for tensor in (batch.values, batch.lengths, batch.targets, *batch.context.values()):
            if tensor is not None:
                for dimension in range(min(2, tensor.ndim)):
                    torch._dynamo.maybe_mark_dynamic(tensor, dimension)
        return self._losses(batch)

    @property
    def graphs(self) -> int:
        return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])

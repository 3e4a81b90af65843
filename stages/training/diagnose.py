"""Why a training cannot go on: which layer was the first to give a number that is not finite, on which sequences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ..models.batch import Batch
from ..models.network import Network
from . import distributed


def explain(network: Network, batches: Iterable[Batch], names: Sequence[str], *, loss: float, norm: float) -> str:
    """What is not finite, the layers where it first shows, and the sequences, by their `names`; from all ranks.

    `batches` are this rank's own, on the network's device; `norm` is that of the gradient, which the weights hold.
    """
    own = [layer for batch in batches for layer in first_not_finite(network, batch)]
    layers = sorted({layer for some in distributed.all_gather(own) for layer in some})
    if math.isfinite(loss):
        what = f"the gradient's norm is {norm}"
        layers = layers or _last_gradient_not_finite(network)
    else:
        what = f"loss is {loss}"
    where = f"first in {', '.join(layers)}" if layers else "every layer's output is finite"
    return f"{what}, not finite; {where}; sequences {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"


def first_not_finite(network: Network, batch: Batch) -> list[str]:
    """The first layer whose output on the batch is not finite, if there is one."""
    names = {module: name for name, module in network.named_modules() if name}
    layers: list[str] = []

    def watch(module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = output if isinstance(output, tuple) else (output,)
        if not layers and any(isinstance(t, Tensor) and not torch.isfinite(t).all() for t in tensors):
            layers.append(f"{names[module]} ({type(module).__name__})")

    with ExitStack() as hooks, torch.no_grad():
        for module in names:
            hooks.enter_context(module.register_forward_hook(watch))
        network.losses(batch)
    return layers


def _last_gradient_not_finite(network: Network) -> list[str]:
    """The weight nearest to the output whose gradient is not finite: gradients run backwards."""
    weights = reversed(list(network.named_parameters()))
    return [name for name, weight in weights if weight.grad is not None and not torch.isfinite(weight.grad).all()][:1]

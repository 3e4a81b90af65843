"""A step of the optimizer: gradients of all ranks, made the mean's, clipped and followed; the weights' average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..models.network import Network
from ..params import TrainParams
from . import distributed
from .gradients import GradientBuckets


class Optimizer:
    """AdamW over a network's weights, which it changes in place.

    A step is `start_step`, `backward` for each part of it (`start_last` before that of the last one), `reduce`, `clip`
    and `step`. The loss is a mean over weights that are known only when all ranks have computed their parts. Until then
    the gradient is divided by the number of examples, which keeps it within float16's range; `clip` puts the weight in
    its place. What depends on numbers of the step stays on the device: nothing here waits for it.
    """

    def __init__(self, network: Network, params: TrainParams, device: torch.device) -> None:
        self._params = params
        self._weights = [p for p in network.parameters() if p.requires_grad]
        self._adamw = torch.optim.AdamW(
            _weight_groups(network, params.weight_decay), lr=params.learning_rate, fused=True
        )
        # Only float16 is so narrow that small gradients vanish in it (Micikevicius et al., "Mixed Precision
        # Training", 2018).
        self._scaler = torch.amp.GradScaler(device.type, enabled=params.precision == "float16")
        self._average = [weight.clone() for weight in self._values()] if params.ema_decay else []
        self._buckets = GradientBuckets(self._weights) if distributed.together() else None
        self._sums: Tensor | None = None
        self._examples = 0

    def start_step(self, examples: int) -> None:
        """Forget the gradients of the step before. The new one has so many examples, over all ranks and parts."""
        self._examples = examples
        self._adamw.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor, *, counts: bool = True) -> None:
        """Add the gradient of a loss summed over examples, or zeros of its shape where it does not count."""
        self._scaler.scale(loss.float() * (float(counts) / self._examples)).backward()

    def start_last(self, sums: Tensor) -> None:
        """The next `backward` is the step's last; `sums`, float64 `(n,)`, are to be added up over the ranks."""
        self._sums = sums
        if self._buckets is not None:
            self._buckets.start(sums)

    def give_up(self, sums: Tensor) -> None:
        """This rank cannot end the step's backward passes; `reduce` tells the others `sums` and holds nobody up."""
        self._sums = sums
        if self._buckets is not None:
            self._buckets.give_up(sums)

    def reduce(self) -> Tensor:
        """Sum the gradients over the ranks; returns the sums of `start_last`, over the ranks as well."""
        assert self._sums is not None
        return self._sums if self._buckets is None else self._buckets.finish()

    def clip(self, weight: Tensor) -> Tensor:
        """Make the gradients those of the loss divided by `weight`, and clip them; returns their norm before clipping.

        A weight of 0 makes them 0: a batch may hold nothing to learn from, such as seven days of which none was
        observed. Weight and norm are float64 `()`.
        """
        self._scaler.unscale_(self._adamw)
        gradients = [p.grad for p in self._weights if p.grad is not None]
        return clip_gradients(gradients, torch.where(weight != 0, self._examples / weight, 0.0), self._params)

    def is_sound(self, norm: Tensor) -> Tensor:
        """Whether a gradient of this norm is one to go on with, bool `()`: it is finite, or its infinity is float16's,
        which a smaller scale mends; `step` then changes no weight.
        """
        finite = norm.isfinite()
        if not self._scaler.is_enabled():
            return finite
        return finite | (self._scaler.scale(torch.ones((), device=norm.device)) >= 1.0)

    def step(self, learning_rate: float, steps_done: int, *, skip: Tensor) -> None:
        """Change the weights, then move their average towards them. Where `skip`, float32 `()`, is 1 and not 0, the
        weights and their moments stay as they are.

        A share of `ema_decay` of the average stays, less at first, when the weights are far from where they will be (as
        in TensorFlow's `ExponentialMovingAverage`).
        """
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate * group["lr_multiplier"]
        # Fused kernels ask this; float16's scaler puts its own in its place, and waits for the device anyway.
        self._adamw.found_inf = skip  # type: ignore[attr-defined]
        if self._scaler.is_enabled() and skip:
            return
        self._scaler.step(self._adamw)
        self._scaler.update()
        if self._average:
            decay = min(self._params.ema_decay, (1 + steps_done) / (10 + steps_done))
            torch._foreach_lerp_(self._average, self._values(), 1.0 - decay)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The network has its weights' moving average inside the block, where params ask for one."""
        if not self._average:
            yield
            return
        weights = self._values()
        kept = [weight.clone() for weight in weights]
        torch._foreach_copy_(weights, self._average)
        try:
            yield
        finally:
            torch._foreach_copy_(weights, kept)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What `load_state` needs to go on with the same bits: tensors, and what JSON keeps."""
        tensors = {f"average.{number}": tensor for number, tensor in enumerate(self._average)}
        for number, moments in self._adamw.state_dict()["state"].items():
            tensors |= {f"moments.{number}.{name}": tensor for name, tensor in moments.items()}
        return tensors, self._scaler.state_dict()

    def load_state(self, tensors: Mapping[str, Tensor], scaler: Mapping[str, Any]) -> None:
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            match name.split("."):
                case ["average", number]:
                    self._average[int(number)].copy_(tensor)
                case ["moments", number, moment]:
                    moments.setdefault(int(number), {})[moment] = tensor
        self._adamw.load_state_dict({**self._adamw.state_dict(), "state": moments})
        self._scaler.load_state_dict(dict(scaler))

    def _values(self) -> list[Tensor]:
        return [weight.detach() for weight in self._weights]


def clip_gradients(gradients: list[Tensor], scale: Tensor, params: TrainParams) -> Tensor:
    """Multiply the gradients by `scale`, float64 `()`, and clip them; returns their norm before clipping, float64 `()`.

    By value, then by norm (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks",
    2013).
    """
    norm = nn.utils.get_total_norm(gradients).double() * scale
    bounded = norm
    if params.clip_value:
        torch._foreach_mul_(gradients, scale.float())
        torch._foreach_clamp_min_(gradients, -params.clip_value)
        torch._foreach_clamp_max_(gradients, params.clip_value)
        bounded, scale = nn.utils.get_total_norm(gradients).double(), torch.ones_like(scale)
    if params.max_grad_norm:
        scale = torch.where(bounded > params.max_grad_norm, scale * (params.max_grad_norm / bounded), scale)
    torch._foreach_mul_(gradients, scale.float())
    return norm


def _weight_groups(network: Network, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for matrices, none for biases and norms, which do not overfit by growing."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            groups.setdefault((weight.ndim >= 2, network.lr_multiplier(name)), []).append(weight)
    return [
        {"params": weights, "weight_decay": weight_decay if matrices else 0.0, "lr_multiplier": multiplier}
        for (matrices, multiplier), weights in groups.items()
    ]

"""From one vector a step to one vector a sequence."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over each sequence's own steps: `(batch, time, features)`, `(batch, time)` to `(batch, features)`."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """The largest value over each sequence's own steps: `(batch, time, features)` to `(batch, features)`."""
    return values.masked_fill(~mask.unsqueeze(-1), torch.finfo(values.dtype).min).amax(dim=1)


def masked_deviation(values: Tensor, mask: Tensor) -> Tensor:
    """The standard deviation over each sequence's own steps: `(batch, time, features)` to `(batch, features)`.

    Of a feature that does not change it is a thousandth in place of 0, where its gradient would be infinite.
    """
    away = (values - masked_mean(values, mask).unsqueeze(1)).square()
    return (masked_mean(away, mask) + 1e-6).sqrt()

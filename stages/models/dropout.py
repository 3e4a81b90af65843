"""Dropout that costs little on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 2**16  # a probability is kept to this: 0.3 becomes 0.30000305


class Dropout(nn.Dropout):
    """`nn.Dropout` (Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014), with
    random numbers of 16 bits on a CPU, four of which come from one draw.

    For networks that drop in many places: PyTorch's own takes a seventh of a small Transformer's training, this one a
    third of that. GPUs draw in their own kernel.
    """

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.p or values.device.type != "cpu":
            return super().forward(values)
        draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        levels = draws.view(torch.int16)[: values.numel()].view(values.shape)  # from -_LEVELS / 2
        dropped = round(self.p * _LEVELS)
        if dropped == _LEVELS:
            return values * 0.0
        kept = levels >= dropped - _LEVELS // 2
        return values * kept.to(values.dtype).mul_(_LEVELS / (_LEVELS - dropped))

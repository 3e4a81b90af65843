"""Self-attention over padded batches."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..batching import length_mask


class TransformerStack(nn.Module):
    """Encoder layers of a Transformer (Vaswani et al., "Attention Is All You Need", 2017), normalised before each part
    and not after it (Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020), which trains
    without a warm-up. Nothing attends to the padding. Raises ValueError where `heads` do not divide `size`.
    """

    def __init__(self, input_size: int, size: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        if size % heads:
            raise ValueError(f"a transformer of size {size} with {heads} heads; allowed: a size that they divide")
        self.output_size = size
        self.project = nn.Linear(input_size, size)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, heads, 4 * size, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, input_size)` to `(batch, time, size)`; what stands after a sequence's end is undefined."""
        padding = ~length_mask(lengths, values.shape[1])
        positions = sinusoids(values.shape[1], self.output_size).to(values)
        # What stands in the padding is weighted with 0, which a value that is not finite would survive.
        values = self.dropout(self.project(values.masked_fill(padding.unsqueeze(-1), 0.0)) + positions)
        for layer in self.encoder:
            values = layer(values, src_key_padding_mask=padding)
        return self.norm(values)


def sinusoids(time: int, size: int) -> Tensor:
    """A vector for each place in a sequence, `(time, size)`: sines and cosines of wavelengths from 2 pi to 20,000 pi
    steps (Vaswani et al., 2017, section 3.5).
    """
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(0, size, 2) / size)
    angles = torch.arange(time).unsqueeze(1) * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :size]

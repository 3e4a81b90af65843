"""Layers over pictures, without statistics of the batch: what stands beside a picture changes nothing about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConvolutionBlock(nn.Sequential):
    """A 3 × 3 convolution with stride 2, group norm, SiLU: `(n, in, height, width)` to half the height and width.

    Group norm (Wu and He, "Group Normalization", 2018) takes its means within one picture: batches of clips are small,
    and their frames are too alike for batch norm.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1, bias=False),
            nn.GroupNorm(out_channels // 8, out_channels),
            nn.SiLU(),
        )


class PictureEncoder(nn.Module):
    """Pictures to vectors: convolution blocks, the mean and the maximum over all places, a linear layer."""

    def __init__(self, in_channels: int, channels: Sequence[int], features: int) -> None:
        super().__init__()
        sizes = [in_channels, *channels]
        self.blocks = nn.Sequential(*(ConvolutionBlock(a, b) for a, b in zip(sizes, sizes[1:], strict=False)))
        self.output = nn.Sequential(nn.Linear(2 * sizes[-1], features), nn.LayerNorm(features), nn.SiLU())

    def forward(self, pictures: Tensor) -> Tensor:
        """`(n, channels, height, width)` to `(n, features)`."""
        maps = self.blocks(pictures)
        return self.output(torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1))

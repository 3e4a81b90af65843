"""A 3D CNN: convolutions over height, width and time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from .frames import PlacePooling, without_padding


class VolumeBlock(nn.Module):
    """A 3 × 3 × 3 convolution in two parts, over places and then over time, beside a shortcut.

    It is the "(2+1)D" block of Tran et al. ("A Closer Look at Spatiotemporal Convolutions for Action Recognition",
    2018), with one pair of convolutions in place of two, and group norm within each frame in place of batch norm:
    statistics over time or over the batch would let the padding into a clip's numbers. Height and width are halved.
    After a clip's end the convolution over time sees zeros, as it does beyond the batch's longest clip.
    """

    def __init__(self, in_channels: int, out_channels: int, *, temporal_stride: int) -> None:
        super().__init__()
        self.temporal_stride = temporal_stride
        between = channels_between(in_channels, out_channels)
        self.spatial = nn.Conv2d(in_channels, between, kernel_size=3, stride=2, padding=1, bias=False)
        self.spatial_norm = nn.GroupNorm(between // 8, between)
        stride = (temporal_stride, 1, 1)
        self.temporal = nn.Conv3d(between, out_channels, (3, 1, 1), stride=stride, padding=(1, 0, 0), bias=False)
        self.temporal_norm = nn.GroupNorm(out_channels // 8, out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2, bias=False)

    def forward(self, volumes: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, in_channels, height, width)` to `(batch, ceil(time / temporal_stride), out_channels,
        ceil(height / 2), ceil(width / 2))`, and the lengths of these.
        """
        clips = len(volumes)
        maps = functional.silu(self.spatial_norm(self.spatial(volumes.flatten(0, 1)))).unflatten(0, (clips, -1))
        maps = self.temporal(without_padding(maps, lengths).transpose(1, 2)).transpose(1, 2)
        maps = self.temporal_norm(maps.flatten(0, 1))
        maps = functional.silu(maps + self.shortcut(volumes[:, :: self.temporal_stride].flatten(0, 1)))
        return maps.unflatten(0, (clips, -1)), (lengths + self.temporal_stride - 1) // self.temporal_stride


class VolumeEncoder(nn.Module):
    """Blocks over clips, then for each time that is left one vector of all places."""

    def __init__(
        self, in_channels: int, channels: Sequence[int], features: int, *, temporal_strides: Sequence[int]
    ) -> None:
        super().__init__()
        sizes = [in_channels, *channels]
        self.blocks = nn.ModuleList(
            VolumeBlock(before, after, temporal_stride=stride)
            for before, after, stride in zip(sizes, sizes[1:], temporal_strides, strict=False)
        )
        self.places = PlacePooling(sizes[-1], features)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, channels, height, width)` to `(batch, shorter time, features)`, and the lengths of these."""
        for block in self.blocks:
            frames, lengths = block(frames, lengths)
        return self.places(frames), lengths


def channels_between(in_channels: int, out_channels: int) -> int:
    """The channels between the two parts with which they have as many weights as the one convolution that they stand
    for (Tran et al., 2018, section 3.5), rounded down to a multiple of 8.
    """
    whole = 27 * in_channels * out_channels // (9 * in_channels + 3 * out_channels)
    return max(8, whole // 8 * 8)

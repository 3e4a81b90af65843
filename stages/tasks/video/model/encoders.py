"""From the frames of a clip, or their stored features, to one vector for each time that is left."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....models.batch import length_mask
from ....models.convolution import ConvolutionBlock
from ..data.columns import EMBEDDING_SIZE
from ..data.efficientnet import EfficientNetLite0


def normalize_frames(values: Tensor, *, frame_changes: bool) -> Tensor:
    """`(batch, time, height, width, channels)` uint8 to `(batch, time, channels, height, width)`, from -1 to 1; with
    `frame_changes` twice as many channels.
    """
    frames = values.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0
    return torch.cat([frames, changes(frames)], dim=2) if frame_changes else frames


def changes(frames: Tensor) -> Tensor:
    """What each frame adds to the one before, `(batch, time, …)`; nothing for the first."""
    return torch.cat([torch.zeros_like(frames[:, :1]), frames[:, 1:] - frames[:, :-1]], dim=1)


class FeatureReader(nn.Module):
    """Features of frames, normalised, and a linear layer: what is learned in place of a frame CNN.

    With `frame_changes` it reads beside each frame's features what changed in them since the frame before.
    """

    def __init__(self, in_features: int, features: int, *, frame_changes: bool) -> None:
        super().__init__()
        self.frame_changes = frame_changes
        self.norm = nn.LayerNorm(in_features)
        self.output = nn.Sequential(
            nn.Linear(in_features * (2 if frame_changes else 1), features), nn.LayerNorm(features), nn.SiLU()
        )

    def forward(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, in_features)` to `(batch, time, features)`, and the lengths as they came."""
        normed = self.norm(values.float())
        if self.frame_changes:
            normed = torch.cat([normed, changes(normed)], dim=2)
        return self.output(normed), lengths


class PretrainedEncoder(nn.Module):
    """A network that has learned to name pictures, which goes on learning, and what reads its features."""

    def __init__(self, features: int, *, frame_changes: bool) -> None:
        super().__init__()
        self.pretrained = EfficientNetLite0()
        self.reader = FeatureReader(EMBEDDING_SIZE, features, frame_changes=frame_changes)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, height, width, 3)` uint8 to `(batch, time, features)`, and the lengths as they came. The
        padding is not looked at, since a frame costs much more here than with a small CNN.
        """
        mask = length_mask(lengths, frames.shape[1])
        embedded = self.pretrained(frames[mask])
        values = embedded.new_zeros((*mask.shape, EMBEDDING_SIZE)).masked_scatter(mask.unsqueeze(-1), embedded)
        read: tuple[Tensor, Tensor] = self.reader(values, lengths)
        return read


class PlacePooling(nn.Module):
    """The mean and the maximum over all places of each frame's maps, and a linear layer, as `PictureEncoder` has it."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.output = nn.Sequential(nn.Linear(2 * channels, features), nn.LayerNorm(features), nn.SiLU())

    def forward(self, maps: Tensor) -> Tensor:
        """`(batch, time, channels, height, width)` to `(batch, time, features)`."""
        return self.output(torch.cat([maps.mean(dim=(3, 4)), maps.amax(dim=(3, 4))], dim=2))


class ConvLSTM(nn.Module):
    """An LSTM layer with convolutions in place of matrix products (Shi et al., "Convolutional LSTM Network: A Machine
    Learning Approach for Precipitation Nowcasting", 2015), without peepholes: theirs bind a layer to one size of maps.

    i, f, o = σ(W ∗ x + b + U ∗ h), each with its own weights;  g = tanh(W ∗ x + b + U ∗ h), with its own

    c' = f ⊙ c + i ⊙ g;  h' = o ⊙ tanh(c')

    The gates stand in the weights as i, f, g, o; the kernels are 3 × 3. It reads forwards alone, so that what comes
    after a clip's end cannot reach its outputs.
    """

    def __init__(self, in_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.from_input = nn.Conv2d(in_channels, 4 * hidden_channels, kernel_size=3, padding=1)
        self.from_hidden = nn.Conv2d(hidden_channels, 4 * hidden_channels, kernel_size=3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """`(batch, time, in_channels, height, width)` to `(batch, time, hidden_channels, height, width)`."""
        from_input = self.from_input(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        hidden = cell = maps.new_zeros(len(maps), self.hidden_channels, *maps.shape[3:])
        outputs = []
        for time in range(maps.shape[1]):
            i, f, g, o = (from_input[:, time] + self.from_hidden(hidden)).chunk(4, dim=1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)


class ConvLSTMEncoder(nn.Module):
    """Convolution blocks over each frame, ConvLSTM layers over their maps, one vector of all places for each frame."""

    def __init__(
        self, in_channels: int, channels: Sequence[int], features: int, *, hidden_channels: int, layers: int
    ) -> None:
        super().__init__()
        sizes = [in_channels, *channels]
        self.blocks = nn.Sequential(*(ConvolutionBlock(a, b) for a, b in zip(sizes, sizes[1:], strict=False)))
        inputs = [sizes[-1]] + [hidden_channels] * (layers - 1)
        self.layers = nn.ModuleList(ConvLSTM(size, hidden_channels) for size in inputs)
        self.places = PlacePooling(hidden_channels, features)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, channels, height, width)` to `(batch, time, features)`, and the lengths as they came."""
        maps = self.blocks(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        for layer in self.layers:
            maps = layer(maps)
        return self.places(maps), lengths


class Conv3dBlock(nn.Module):
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
        padding = ~length_mask(lengths, maps.shape[1])
        maps = maps.masked_fill(padding[:, :, None, None, None], 0.0)
        maps = self.temporal(maps.transpose(1, 2)).transpose(1, 2)
        maps = self.temporal_norm(maps.flatten(0, 1))
        maps = functional.silu(maps + self.shortcut(volumes[:, :: self.temporal_stride].flatten(0, 1)))
        return maps.unflatten(0, (clips, -1)), (lengths + self.temporal_stride - 1) // self.temporal_stride


def channels_between(in_channels: int, out_channels: int) -> int:
    """The channels between the two parts with which they have as many weights as the one convolution that they stand
    for (Tran et al., 2018, section 3.5), rounded down to a multiple of 8.
    """
    whole = 27 * in_channels * out_channels // (9 * in_channels + 3 * out_channels)
    return max(8, whole // 8 * 8)


class Conv3dEncoder(nn.Module):
    """Blocks over clips, then for each time that is left one vector of all places."""

    def __init__(
        self, in_channels: int, channels: Sequence[int], features: int, *, temporal_strides: Sequence[int]
    ) -> None:
        super().__init__()
        sizes = [in_channels, *channels]
        self.blocks = nn.ModuleList(
            Conv3dBlock(before, after, temporal_stride=stride)
            for before, after, stride in zip(sizes, sizes[1:], temporal_strides, strict=False)
        )
        self.places = PlacePooling(sizes[-1], features)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, channels, height, width)` to `(batch, shorter time, features)`, and the lengths of these."""
        for block in self.blocks:
            frames, lengths = block(frames, lengths)
        return self.places(frames), lengths

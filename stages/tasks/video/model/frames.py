"""Stored frames as a network reads them, and maps of places as one vector a frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....models.batch import length_mask
from ..data.columns import PICTURE
from ..data.efficientnet import EfficientNetLite0


def frames_of(values: Tensor, *, frame_changes: bool) -> Tensor:
    """`(batch, time, height, width, channels)` uint8 to `(batch, time, channels, height, width)`, from -1 to 1; with
    `frame_changes` twice as many channels.
    """
    frames = values.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0
    return torch.cat([frames, changes(frames)], dim=2) if frame_changes else frames


def changes(frames: Tensor) -> Tensor:
    """What each frame adds to the one before, `(batch, time, …)`; nothing for the first."""
    return torch.cat([torch.zeros_like(frames[:, :1]), frames[:, 1:] - frames[:, :-1]], dim=1)


def without_padding(maps: Tensor, lengths: Tensor) -> Tensor:
    """`(batch, time, channels, height, width)` with zeros after each clip's end."""
    return maps.masked_fill(~length_mask(lengths, maps.shape[1])[:, :, None, None, None], 0.0)


class PlacePooling(nn.Module):
    """The mean and the maximum over all places of each frame's maps, and a linear layer, as `PictureEncoder` has it."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.output = nn.Sequential(nn.Linear(2 * channels, features), nn.LayerNorm(features), nn.SiLU())

    def forward(self, maps: Tensor) -> Tensor:
        """`(batch, time, channels, height, width)` to `(batch, time, features)`."""
        return self.output(torch.cat([maps.mean(dim=(3, 4)), maps.amax(dim=(3, 4))], dim=2))


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

    def forward(self, values: Tensor) -> Tensor:
        """`(batch, time, in_features)` to `(batch, time, features)`."""
        normed = self.norm(values.float())
        if self.frame_changes:
            normed = torch.cat([normed, changes(normed)], dim=2)
        return self.output(normed)


class PretrainedEncoder(nn.Module):
    """A network that has learned to name pictures, which goes on learning, and what reads its features."""

    def __init__(self, features: int, *, frame_changes: bool) -> None:
        super().__init__()
        self.pretrained = EfficientNetLite0()
        self.reader = FeatureReader(PICTURE, features, frame_changes=frame_changes)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, height, width, 3)` uint8 to `(batch, time, features)`. The padding is not looked at, since a
        frame costs much more here than with a small CNN.
        """
        mask = length_mask(lengths, frames.shape[1])
        found = self.pretrained(frames[mask])
        values = found.new_zeros((*mask.shape, PICTURE)).masked_scatter(mask.unsqueeze(-1), found)
        read: Tensor = self.reader(values)
        return read

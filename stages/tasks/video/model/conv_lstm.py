"""An LSTM whose state is a map of places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ....models.convolution import ConvolutionBlock
from .frames import PlacePooling


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
        hidden = memory = maps.new_zeros(len(maps), self.hidden_channels, *maps.shape[3:])
        outputs = []
        for time in range(maps.shape[1]):
            write, keep, candidate, read = (from_input[:, time] + self.from_hidden(hidden)).chunk(4, dim=1)
            memory = torch.sigmoid(keep) * memory + torch.sigmoid(write) * torch.tanh(candidate)
            hidden = torch.sigmoid(read) * torch.tanh(memory)
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

"""A CNN over frames and a recurrent network over what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ....batching import Batch
from ....models.classification import classification_losses
from ....models.convolution import PictureEncoder
from ....models.network import Network
from ....models.pooling import masked_max, masked_mean
from ....models.recurrent import RecurrentStack, last_step
from ..params import ModelParams, Params
from .clips import ClipDataset


class ClipClassifier(Network):
    """A CNN reads each frame, a recurrent network reads the frames, the pooled outputs give the class.

    With `frame_changes` the CNN sees beside each frame what changed since the one before. The CNN forgets places when
    it takes means over them; a change keeps the direction in which something went.
    """

    def __init__(self, params: ModelParams, channels: int, classes: int) -> None:
        super().__init__()
        self.frame_changes = params.frame_changes
        self.pooling = params.pooling
        self.label_smoothing = params.label_smoothing
        self.encoder = PictureEncoder(channels * (2 if params.frame_changes else 1), params.channels, params.features)
        self.recurrent = RecurrentStack(
            params.features,
            params.hidden_size,
            layers=params.layers,
            cell=params.cell,
            bidirectional=params.bidirectional,
            dropout=params.dropout,
            recurrent_dropout=params.recurrent_dropout,
            layer_norm=params.layer_norm,
            truncation=params.truncation,
        )
        self.dropout = nn.Dropout(params.dropout)
        self.output = nn.Linear(self.recurrent.output_size, classes)

    def forward(self, batch: Batch) -> Tensor:
        """A batch of `(batch, time, height, width, channels)` uint8 frames to `(batch, classes)` logits."""
        frames = batch.values.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0
        if self.frame_changes:
            frames = torch.cat([frames, changes(frames)], dim=2)
        features = self.encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        outputs = self.recurrent(self.dropout(features), batch.lengths)
        if self.pooling == "last":
            pooled = last_step(outputs, batch.lengths)
        elif self.pooling == "mean":
            pooled = masked_mean(outputs, batch.mask)
        else:
            pooled = masked_max(outputs, batch.mask)
        return self.output(self.dropout(pooled))

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        """The sums of cross-entropy and of right answers, with the number of clips."""
        assert batch.targets is not None
        smoothing = self.label_smoothing if self.training else 0.0
        return classification_losses(self(batch), batch.targets, label_smoothing=smoothing)


def changes(frames: Tensor) -> Tensor:
    """What each frame adds to the one before, `(batch, time, …)`; nothing for the first."""
    return torch.cat([torch.zeros_like(frames[:, :1]), frames[:, 1:] - frames[:, :-1]], dim=1)


def build(params: ModelParams, data: Mapping[str, Any]) -> ClipClassifier:
    """A network with fresh weights for the classes and the frames that `description.json` tells of."""
    return ClipClassifier(params, data["decoding"]["channels"], len(data["classes"]))


def dataset(folder: Path, split: str, params: Params, *, augment: bool) -> ClipDataset:
    """The clips of one split of the prepared data in `folder`."""
    return ClipDataset(folder, split, params.model.augmentation if augment else None, seed=params.train.seed)

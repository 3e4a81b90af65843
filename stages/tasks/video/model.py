"""The network over clips, and the batches it is fed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...batching import Batch, pad, uniform
from ...models.classification import classification_losses
from ...models.convolution import PictureEncoder
from ...models.pooling import masked_max, masked_mean
from ...models.recurrent import RecurrentStack, last_step
from ...preparation import open_prepared
from .params import ModelParams, Params


class ClipClassifier(nn.Module):
    """A CNN reads each frame, a recurrent network reads the frames, the pooled outputs give the class.

    With `frame_changes` the CNN sees beside each frame what changed since the one before. The CNN forgets places when it
    takes means over them; a change keeps the direction in which something went.
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
        logits: Tensor = self.output(self.dropout(pooled))
        return logits

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        assert batch.targets is not None
        smoothing = self.label_smoothing if self.training else 0.0
        return classification_losses(self(batch), batch.targets, label_smoothing=smoothing)


def changes(frames: Tensor) -> Tensor:
    """What each frame adds to the one before, `(batch, time, …)`; nothing for the first."""
    return torch.cat([torch.zeros_like(frames[:, :1]), frames[:, 1:] - frames[:, :-1]], dim=1)


def build(params: ModelParams, data: Mapping[str, Any]) -> ClipClassifier:
    """A network with fresh weights for the classes and the frames that `description.json` tells of."""
    return ClipClassifier(params, data["decoding"]["channels"], len(data["classes"]))


class ClipDataset:
    """The clips of one split of the store."""

    def __init__(self, folder: Path, split: str, params: Params, *, augment: bool) -> None:
        self.store, description = open_prepared(folder)
        self.classes: list[str] = description["classes"]
        self._shape = tuple(self.store.metadata["shape"])
        self._rows = self.store.rows(split)
        self.lengths = self.store.column("length")[self._rows]
        self.labels = self.store.column("label")[self._rows].astype(np.int64)
        self._augmentation = Augmentation(params.model, params.train.seed) if augment else None

    def __len__(self) -> int:
        return len(self._rows)

    def clip(self, example: int) -> np.ndarray:
        """The frames of one clip as they are stored, `(time, height, width, channels)` uint8."""
        return self.store.sequence("frames", self._rows[example]).reshape(-1, *self._shape)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Clips padded to the longest, `(batch, time, height, width, channels)` uint8, with their labels."""
        clips = [self.clip(example) for example in examples]
        if self._augmentation and epoch is not None:
            clips = self._augmentation(clips, examples, epoch)
        values, lengths = pad(clips)
        return Batch(values=values, lengths=lengths, targets=torch.from_numpy(self.labels[examples]))


class Augmentation:
    """Random changes of clips, the same in all frames of a clip, drawn by (seed, epoch, example) alone."""

    def __init__(self, params: ModelParams, seed: int) -> None:
        self._params = params
        self._seed = seed

    def __call__(self, clips: list[np.ndarray], examples: np.ndarray, epoch: int) -> list[np.ndarray]:
        """The changed clips, each of the shape that it had."""
        draws = uniform(self._seed, epoch, examples, 5)
        return [self._change(clip, draw) for clip, draw in zip(clips, draws, strict=True)]

    def _change(self, clip: np.ndarray, draw: np.ndarray) -> np.ndarray:
        height, width = clip.shape[1:3]
        if self._params.augment_flip and draw[0] < 0.5:
            clip = clip[:, :, ::-1]
        rows = _moved(height, self._params.augment_shift, draw[1])
        columns = _moved(width, self._params.augment_shift, draw[2])
        contrast, brightness = 1 + self._params.augment_brightness * (2 * draw[3:5] - 1)
        levels = (np.arange(256) - 127.5) * contrast + 127.5 * brightness
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        return table[clip[:, rows[:, None], columns]]


def _moved(side: int, share: float, draw: float) -> np.ndarray:
    """Where each pixel along a side is taken from, after a move by up to `share` of it; the border is repeated."""
    return np.clip(np.arange(side) + round((2 * draw - 1) * share * side), 0, side - 1)


def dataset(folder: Path, split: str, params: Params, *, augment: bool) -> ClipDataset:
    """The clips of one split of the prepared data in `folder`."""
    return ClipDataset(folder, split, params, augment=augment)

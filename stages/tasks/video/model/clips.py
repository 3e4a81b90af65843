"""Batches of clips from the sequence store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ....batching import Batch, pad
from ....preparation import open_prepared
from ..params import AugmentationParams
from .augment import augmented


class ClipDataset:
    """The clips of one split, changed at random if `augmentation` says how."""

    def __init__(self, folder: Path, split: str, augmentation: AugmentationParams | None, *, seed: int) -> None:
        self._store, description = open_prepared(folder)
        self._shape = tuple(self._store.metadata["shape"])
        self._rows = self._store.rows(split)
        self._augmentation = augmentation
        self._seed = seed
        self.classes: list[str] = description["classes"]
        self.lengths = self._store.column("length")[self._rows]
        self.labels = self._store.column("label")[self._rows].astype(np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, example: int) -> str:
        return str(self._store.value("id", self._rows[example]))

    def clip(self, example: int) -> np.ndarray:
        """The frames of one clip as they are stored, `(time, height, width, channels)` uint8."""
        return self._store.sequence("frames", self._rows[example]).reshape(-1, *self._shape)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Clips padded to the longest, `(batch, time, height, width, channels)` uint8, with their labels."""
        clips = [self.clip(example) for example in examples]
        if self._augmentation and epoch is not None:
            clips = augmented(clips, self._augmentation, examples, seed=self._seed, epoch=epoch)
        values, lengths = pad(clips)
        return Batch(values=values, lengths=lengths, targets=torch.from_numpy(self.labels[examples]))

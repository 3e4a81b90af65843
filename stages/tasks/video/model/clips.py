"""Batches of clips from the sequence store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ....data.prepared import open_prepared
from ....data.store import Split
from ....models.batch import Batch, pad
from ..data.columns import FEATURES, MIRRORED_FEATURES
from ..params import AugmentationParams
from .augment import augmented, augmented_features


class ClipDataset:
    """Clips of a split of a store, or of several, or of the given rows, changed at random if `augmentation` says how.

    Batches hold features where the store has them, and frames where not.
    """

    def __init__(
        self, folder: Path, chosen: Split | np.ndarray, augmentation: AugmentationParams | None, *, seed: int
    ) -> None:
        self._store, description = open_prepared(folder)
        self._shape = tuple(self._store.metadata["shape"])
        self._rows = chosen if isinstance(chosen, np.ndarray) else self._store.rows(chosen)
        self.encoded = FEATURES in self._store.columns
        self._augmentation, self._seed = augmentation, seed
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

    def features(self, example: int) -> np.ndarray:
        """The encoder's features of the frames of one clip, `(time, features)` float16."""
        return self._store.sequence(FEATURES, self._rows[example])

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Clips padded to the longest, with their labels: frames `(batch, time, height, width, channels)` uint8, or
        features `(batch, time, features)` float16.
        """
        if self._augmentation is None or epoch is None:
            clips = [self.features(example) if self.encoded else self.clip(example) for example in examples]
        elif self.encoded:
            pairs = [(self.features(example), self._mirrored(example)) for example in examples]
            clips = augmented_features(pairs, self._augmentation, examples, seed=self._seed, epoch=epoch)
        else:
            frames = [self.clip(example) for example in examples]
            clips = augmented(frames, self._augmentation, examples, seed=self._seed, epoch=epoch)
        values, lengths = pad(clips)
        return Batch(values=values, lengths=lengths, targets=torch.from_numpy(self.labels[examples]))

    def _mirrored(self, example: int) -> np.ndarray:
        """The features of the mirrored clip, or of the clip itself where the store has none."""
        column = MIRRORED_FEATURES if MIRRORED_FEATURES in self._store.columns else FEATURES
        return self._store.sequence(column, self._rows[example])

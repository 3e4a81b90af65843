"""The drawings of a split, as the store has them or changed anew in each epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....data.prepared import open_prepared
from ....data.store import Split
from ..params import AugmentationParams
from .augment import augment


class Drawings:
    """What a dataset of drawings makes its batches from."""

    def __init__(self, folder: Path, split: Split, augmentation: AugmentationParams | None, *, seed: int) -> None:
        self.store, description = open_prepared(folder)
        self.rows = self.store.rows(split)
        self.lengths = self.store.column("length")[self.rows]
        self.classes: list[str] = description["classes"]
        self.targets = self.store.codes("label", self.classes)[self.rows].astype(np.int64)
        self.mirrored = np.zeros(len(self.rows), dtype=bool)  # which may be, for whoever mirrors them
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, example: int) -> str:
        return str(self.store.value("id", self.rows[example]))

    def steps(self, examples: np.ndarray, *, epoch: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The steps of some drawings, one after the other, `(steps, 3)` uint8, and how many each has; with an `epoch`
        and an augmentation, changed as they are in that epoch.
        """
        parts = [self.store.sequence("values", row) for row in self.rows[examples]]
        steps, lengths = np.concatenate(parts), self.lengths[examples].astype(np.int64)
        if epoch is None or self._augmentation is None:
            return steps, lengths
        mirrored = self.mirrored[examples]
        return augment(
            steps, lengths, self._augmentation, mirrored=mirrored, seed=self._seed, epoch=epoch, examples=examples
        )

"""Baselines that ignore the order of frames: shuffled clips, and a linear classifier of single frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ....models.batch import Batch
from ..model.clips import ClipDataset
from ..params import EvaluateParams

_CELLS = 16  # the single-frame baseline sees frames averaged down to about this many cells a side


class ShuffledClips:
    """Clips with their frames in a random order, the same one each time."""

    def __init__(self, clips: ClipDataset, seed: int) -> None:
        self._clips, self._seed = clips, seed
        self.lengths = clips.lengths

    def __len__(self) -> int:
        return len(self._clips)

    def name(self, example: int) -> str:
        return self._clips.name(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = self._clips.batch(examples)
        values = batch.values.clone()
        for row, example in enumerate(examples):
            generator = np.random.Generator(np.random.Philox(key=[self._seed, int(example)]))
            order = torch.from_numpy(generator.permutation(int(self.lengths[example])))
            values[row, : len(order)] = batch.values[row, order]
        return replace(batch, values=values)


def single_frame_predictions(train: ClipDataset, test: ClipDataset, params: EvaluateParams) -> np.ndarray:
    """The class of each test clip by a linear classifier of its middle frame, `(clips,)`."""
    generator = np.random.Generator(np.random.Philox(key=[params.seed, 0]))
    pictures, labels = [], []
    for example in range(len(train)):
        chosen = generator.permutation(train.lengths[example])[: params.single_frames_per_clip]
        pictures.append(_vectors(train, example, np.sort(chosen)))
        labels.append(np.full(len(chosen), train.labels[example]))
    middles = [_vectors(test, example, np.array([test.lengths[example] // 2])) for example in range(len(test))]
    if len(np.unique(train.labels)) == 1:
        return np.full(len(test), train.labels[0])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    classifier.fit(np.concatenate(pictures), np.concatenate(labels))
    predicted: np.ndarray = classifier.predict(np.concatenate(middles))
    return predicted


def _vectors(clips: ClipDataset, example: int, times: np.ndarray) -> np.ndarray:
    """A clip's frames at `times` as the linear classifier reads them, `(times, numbers)`: their features, or cells."""
    return clips.features(example)[times].astype(np.float64) if clips.encoded else cells(clips.clip(example)[times])


def cells(frames: np.ndarray) -> np.ndarray:
    """Frames `(n, height, width, channels)`, averaged down, as vectors `(n, cells)`."""
    count, height, width, channels = frames.shape
    step = max(1, min(height, width) // _CELLS)
    rows, columns = height // step, width // step
    blocks = frames[:, : rows * step, : columns * step].reshape(count, rows, step, columns, step, channels)
    return blocks.mean(axis=(2, 4)).reshape(count, -1)

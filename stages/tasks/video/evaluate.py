"""How well the network tells clips apart, what single frames tell, and what is left when their order is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ...batching import Batch
from ...classification import report_classification
from ...engine import predict
from ...reporting import Report
from .model import ClipClassifier, ClipDataset, dataset
from .params import EvaluateParams, Params

_BATCH_SIZE = 32
_CELLS = 16  # the single-frame baseline sees frames averaged down to about this many cells a side
_STRIP = 8  # frames of a clip in the picture


def evaluate(network: ClipClassifier, folder: Path, params: Params, report: Report) -> None:
    """Measure the network on the test clips, in order and shuffled, and two baselines; draw clips as strips of frames.

    `shuffled_accuracy`: the same network where each clip's frames come in a random order.
    `baseline_single_frame_accuracy`: a linear classifier of frames, learnt from random frames of the training clips and
    asked about the middle frame of each test clip.
    """
    train = dataset(folder, "train", params, augment=False)
    test = dataset(folder, "test", params, augment=False)
    probabilities = _probabilities(network, test)
    report_classification(report, probabilities, test.labels, test.classes)
    shuffled = _probabilities(network, ShuffledClips(test, params.evaluate.seed))
    majority = np.bincount(train.labels, minlength=len(test.classes)).argmax()
    single = single_frame_predictions(train, test, params.evaluate)
    report.measured(
        {
            "shuffled_accuracy": np.mean(shuffled.argmax(axis=1) == test.labels),
            "baseline_majority_accuracy": np.mean(test.labels == majority),
            "baseline_single_frame_accuracy": np.mean(single == test.labels),
        }
    )
    report.picture("clips", strips(test, probabilities, params.evaluate))


class ShuffledClips:
    """Clips whose frames come in a random order, the same one each time."""

    def __init__(self, clips: ClipDataset, seed: int) -> None:
        self._clips = clips
        self._seed = seed
        self.lengths = clips.lengths

    def __len__(self) -> int:
        return len(self._clips)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = self._clips.batch(examples)
        values = batch.values.clone()
        for row, example in enumerate(examples):
            generator = np.random.Generator(np.random.Philox(key=[self._seed, int(example)]))
            order = torch.from_numpy(generator.permutation(int(self.lengths[example])))
            values[row, : len(order)] = batch.values[row, order]
        return replace(batch, values=values)


def single_frame_predictions(train: ClipDataset, test: ClipDataset, params: EvaluateParams) -> np.ndarray:
    """The class that a linear classifier of frames gives the middle frame of each test clip, `(clips,)`."""
    generator = np.random.Generator(np.random.Philox(key=[params.seed, 0]))
    pictures, labels = [], []
    for example in range(len(train)):
        clip = train.clip(example)
        chosen = generator.permutation(len(clip))[: params.single_frames_per_clip]
        pictures.append(_cells(clip[np.sort(chosen)]))
        labels.append(np.full(len(chosen), train.labels[example]))
    middles = [_cells(clip[len(clip) // 2][None]) for clip in map(test.clip, range(len(test)))]
    if len(np.unique(train.labels)) == 1:
        return np.full(len(test), train.labels[0])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    classifier.fit(np.concatenate(pictures), np.concatenate(labels))
    predicted: np.ndarray = classifier.predict(np.concatenate(middles))
    return predicted


def _cells(frames: np.ndarray) -> np.ndarray:
    """Frames `(n, height, width, channels)`, averaged down, as vectors `(n, cells)`."""
    count, height, width, channels = frames.shape
    step = max(1, min(height, width) // _CELLS)
    rows, columns = height // step, width // step
    blocks = frames[:, : rows * step, : columns * step].reshape(count, rows, step, columns, step, channels)
    return blocks.mean(axis=(2, 4)).reshape(count, -1)


def strips(clips: ClipDataset, probabilities: np.ndarray, params: EvaluateParams) -> Figure:
    """Random clips as strips of frames with their class as predicted, and as it is where that differs.

    Wrong ones come first, then one of each class in turn.
    """
    predicted = probabilities.argmax(axis=1)
    right = predicted == clips.labels
    turn = np.empty(len(clips), dtype=np.int64)
    generator = np.random.Generator(np.random.Philox(key=[params.seed, 1]))
    for label in np.unique(clips.labels):
        same = np.flatnonzero(clips.labels == label)
        turn[same] = generator.permutation(len(same))
    chosen = np.lexsort((clips.labels, turn, right))[: params.pictures]
    figure = Figure(figsize=(_STRIP + 2.6, 1.05 * len(chosen)), layout="constrained")
    grid = figure.subplots(len(chosen), _STRIP, squeeze=False)
    for row, example in zip(grid, chosen, strict=True):
        clip = clips.clip(example)
        shown = np.linspace(0, len(clip) - 1, _STRIP).round().astype(int)
        for axes, frame in zip(row, clip[shown], strict=True):
            axes.imshow(frame.squeeze(-1) if frame.shape[-1] == 1 else frame, cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
        answer = f"{clips.classes[predicted[example]]} {probabilities[example].max():.2f}"
        text = answer if right[example] else f"{answer}\nis {clips.classes[clips.labels[example]]}"
        colour = "tab:green" if right[example] else "tab:red"
        row[0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8, color=colour)
    return figure


def _probabilities(network: ClipClassifier, clips: ClipDataset | ShuffledClips) -> np.ndarray:
    logits = predict(network, clips, _BATCH_SIZE)
    return torch.softmax(torch.from_numpy(logits).double(), dim=1).numpy()

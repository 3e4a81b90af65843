"""Baselines that ignore the order of frames: shuffled clips, and linear classifiers of single frames and of what all
frames of a clip have in common.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ....data.evenly import evenly
from ....models.batch import Batch
from ..model.clips import ClipDataset
from ..params import EvaluateParams

_CELLS = 16  # the baselines see frames averaged down to about this many cells a side
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # inverse strengths of regularisation that moments chooses among
_FOLDS = 3
_MOST_CLIPS = 1000  # by which it chooses; of more, so many evenly over them


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


def moment_predictions(train: ClipDataset, test: ClipDataset, groups: np.ndarray) -> np.ndarray:
    """The class of each test clip, `(clips,)`, by a logistic regression on the mean and the standard deviation over
    time of its frames' features, or cells where none are stored.

    `groups`, `(training clips,)`, numbers clips that are alike. The regularisation is the one of STRENGTHS with the
    least log loss in a cross-validation that parts no group; one in the middle where there are too few groups for it.
    """
    if len(np.unique(train.labels)) == 1:
        return np.full(len(test), train.labels[0])
    moments = _moments(train)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with threadpool_limits(1):  # of products so small, threads wait for each other longer than they work
        classifier.set_params(logisticregression__C=_strength(classifier, moments, train.labels, groups))
        predicted: np.ndarray = classifier.fit(moments, train.labels).predict(_moments(test))
    return predicted


def _strength(classifier: Pipeline, moments: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    some = evenly(len(labels), _MOST_CLIPS)
    groups_of_class = [len(np.unique(groups[some][labels[some] == label])) for label in np.unique(labels)]
    if min(groups_of_class) < _FOLDS:
        return STRENGTHS[len(STRENGTHS) // 2]
    search = GridSearchCV(
        classifier,
        {"logisticregression__C": STRENGTHS},
        scoring=_log_likelihood,
        cv=StratifiedGroupKFold(_FOLDS),
        refit=False,
    )
    search.fit(moments[some], labels[some], groups=groups[some])
    return float(search.best_params_["logisticregression__C"])


def _log_likelihood(classifier: Pipeline, moments: np.ndarray, labels: np.ndarray) -> float:
    """The mean over clips; scikit-learn's own fails where a fold lacks a class, as a fold of few groups may."""
    of_class = np.full((len(labels), int(max(labels.max(), classifier.classes_.max())) + 1), 1e-15)
    of_class[:, classifier.classes_] = np.maximum(classifier.predict_proba(moments), 1e-15)
    return float(np.log(of_class[np.arange(len(labels)), labels]).mean())


def _moments(clips: ClipDataset) -> np.ndarray:
    """Mean and standard deviation over time, `(clips, 2 · numbers)`."""
    frames = (_vectors(clips, example, np.arange(clips.lengths[example])) for example in range(len(clips)))
    return np.stack([np.concatenate([clip.mean(axis=0), clip.std(axis=0)]) for clip in frames])


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

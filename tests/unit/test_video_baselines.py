"""The baselines of clips are scikit-learn's models of what they say they read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from stages.tasks.video.evaluate.baselines import STRENGTHS, cells, moment_predictions
from stages.tasks.video.model.clips import ClipDataset
from stages.tasks.video.model.network import dataset
from stages.tasks.video.params import Params
from tests.unit.test_video_model import DATA, PARAMS
from tests.unit.video_clips import write_store


def test_moments_are_scikit_learns_regression_with_the_strength_that_suits_groups_left_out(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)

    def clip(label: int, length: int) -> tuple[np.ndarray, int]:
        """Every group has a level of its own, and class 1 changes more from frame to frame."""
        frames = (
            100 + generator.normal(0, 4 + 2 * label, (length, 1, 1, 1)) + generator.normal(0, 3, (length, 16, 16, 1))
        )
        return np.clip(frames, 0, 255).astype(np.uint8), label

    clips = {split: [clip(i % 2, 5 + i % 3) for i in range(n)] for split, n in (("train", 24), ("test", 8))}
    data = {**DATA, "classes": DATA["classes"][:2]}
    folder = write_store(tmp_path, {**clips, "validation": [clip(0, 5)]}, data)
    train, test = (dataset(folder, split, Params.model_validate(PARAMS), augment=False) for split in ("train", "test"))
    groups = np.arange(24) // 4

    def inputs(clips: ClipDataset) -> np.ndarray:
        frames = [cells(clips.clip(i)) for i in range(len(clips))]
        return np.stack([np.concatenate([frame.mean(axis=0), frame.std(axis=0)]) for frame in frames])

    losses = []
    for strength in STRENGTHS:
        fold_losses = []
        for known, held_back in StratifiedGroupKFold(3).split(inputs(train), train.labels, groups):
            assert not set(groups[known]) & set(groups[held_back])
            scaler = StandardScaler().fit(inputs(train)[known])
            model = LogisticRegression(C=strength, max_iter=1000).fit(
                scaler.transform(inputs(train)[known]), train.labels[known]
            )
            said = model.predict_proba(scaler.transform(inputs(train)[held_back]))
            fold_losses.append(log_loss(train.labels[held_back], said))
        losses.append(np.mean(fold_losses))
    scaler, strength = StandardScaler().fit(inputs(train)), STRENGTHS[int(np.argmin(losses))]
    model = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(inputs(train)), train.labels)
    found = moment_predictions(train, test, groups)
    assert found.tolist() == model.predict(scaler.transform(inputs(test))).tolist()
    assert found.tolist() == moment_predictions(train, test, groups).tolist()
    few = moment_predictions(train, test, np.arange(24) // 12)
    model = LogisticRegression(C=1e-2, max_iter=1000).fit(scaler.transform(inputs(train)), train.labels)
    assert few.tolist() == model.predict(scaler.transform(inputs(test))).tolist()

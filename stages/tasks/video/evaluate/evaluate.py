"""Metrics of the network on the test clips, in order and shuffled, beside baselines; and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ....data.prepared import open_prepared
from ....evaluation.classification import mistakes, report_classification
from ....evaluation.comparison import example_groups
from ....evaluation.report import Report
from ....evaluation.slices import quarters
from ....progress_bar import busy
from ....training.inference import predict
from ..model.clips import ClipDataset
from ..model.network import ClipClassifier, dataset
from ..params import Params
from .baselines import ShuffledClips, moment_predictions, single_frame_predictions
from .pictures import draw_clips, interleave_classes
from .prefixes import predict_prefixes

_BATCH_SIZE = 32


def evaluate(network: ClipClassifier, folder: Path, params: Params, report: Report) -> None:
    """Measure the network on the test clips, in order and shuffled, and the baselines, by class and by number of
    frames; draw random clips and the most confident mistakes as strips of frames, with the answers to their prefixes.

    `shuffled_accuracy`: the same network where each clip's frames come in a random order.
    `baseline_single_frame_accuracy`: a linear classifier of random frames of the training clips, on the middle frame of
    each test clip. `baseline_moments_accuracy`: a logistic regression on the mean and deviation of all frames.
    """
    train = dataset(folder, "train", params, augment=False)
    test = dataset(folder, "test", params, augment=False)
    probabilities = _probabilities(network, test)
    store, _ = open_prepared(folder)
    report_classification(
        report,
        probabilities,
        test.labels,
        test.classes,
        names=[test.name(example) for example in range(len(test))],
        groups=example_groups(store, store.rows("test")),
        slices={"number of frames": quarters(test.lengths)},
    )
    shuffled = _probabilities(network, ShuffledClips(test, params.evaluate.seed))
    majority = np.bincount(train.labels, minlength=len(test.classes)).argmax()
    report.add_metrics(
        {
            "shuffled_accuracy": np.mean(shuffled.argmax(axis=1) == test.labels),
            "baseline_majority_accuracy": np.mean(test.labels == majority),
        }
    )
    baselines = {
        "frame": lambda: single_frame_predictions(train, test, params.evaluate),
        "moments": lambda: moment_predictions(train, test, example_groups(store, store.rows("train"))),
    }
    for baseline in params.evaluate.baselines:
        with busy(f"baseline {baseline}"):
            right = np.mean(baselines[baseline]() == test.labels)
        report.add_metrics({f"baseline_{params.baselines()[baseline]}_accuracy": right})
    count = params.evaluate.pictures
    random = interleave_classes(test, seed=params.evaluate.seed)[:count]
    for name, chosen, title in (
        ("clips", random, "Random clips of the classes, in turn"),
        ("mistakes", *mistakes(probabilities, test.labels, count)),
    ):
        answers = predict_prefixes(network, test, chosen)
        report.save_figure(name, draw_clips(test, chosen, probabilities, answers, title))


def _probabilities(network: ClipClassifier, clips: ClipDataset | ShuffledClips) -> np.ndarray:
    logits = predict(network, clips, _BATCH_SIZE)
    return torch.softmax(torch.from_numpy(logits).double(), dim=1).numpy()

"""How well drawings are told apart, beside what a majority vote and a linear model on counts and boxes reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ....data.evenly import evenly
from ....data.prepared import open_prepared
from ....evaluation.classification import mistakes, report_classification
from ....evaluation.comparison import example_groups
from ....evaluation.report import Report
from ....evaluation.slices import quarters
from ....models.network import Network
from ....training.inference import predict
from ..model.network import SketchDataset, dataset
from ..params import Params
from .early import accuracy_by_share, early_figure, early_metrics
from .pictures import drawings_figure

_BASELINE_DRAWINGS = 20_000  # that the linear model learns from; it gains nothing from more


def evaluate(network: Network, folder: Path, params: Params, report: Report) -> None:
    """Measure the network and the baselines on the test split, by class, by number of points and by the share of the
    points that it has seen; draw right answers and the surest mistakes.
    """
    test = dataset(folder, "test", params, augment=False)
    train = dataset(folder, "train", params, augment=False)
    store, _ = open_prepared(folder)
    probabilities = predict(
        network, test, params.evaluate.batch_size, lambda batch: torch.softmax(network(batch).double(), dim=1)
    )
    report_classification(
        report,
        probabilities,
        test.targets,
        test.classes,
        names=[test.name(example) for example in range(len(test))],
        groups=example_groups(store, store.rows("test")),
        slices={"number of points": quarters(test.lengths)},
    )
    majority = np.bincount(train.targets, minlength=len(train.classes)).argmax()
    chance = float((test.targets == majority).mean())
    early = accuracy_by_share(network, test, params.evaluate.batch_size)
    report.add_scores(early_metrics(early))
    report.save_figure("early", early_figure(early, chance))
    report.add_metrics({"baseline_majority_accuracy": chance, "baseline_linear_accuracy": linear_accuracy(train, test)})
    count = params.evaluate.pictures
    right = np.flatnonzero(probabilities.argmax(axis=1) == test.targets)
    shown = right[evenly(len(right), count)]
    title = f"{len(shown)} of {len(right):,} correct answers, evenly spaced over the test split"
    report.save_figure("right", drawings_figure(test, shown, probabilities, title))
    chosen, title = mistakes(probabilities, test.targets, count)
    report.save_figure("mistakes", drawings_figure(test, chosen, probabilities, title))


def linear_accuracy(train: SketchDataset, test: SketchDataset) -> float:
    """What logistic regression reaches on numbers of strokes and points and the shape of the bounding box, 0 to 1."""
    some = evenly(len(train), _BASELINE_DRAWINGS)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(counts_and_boxes(train, some), train.targets[some])
    return float(model.score(counts_and_boxes(test, np.arange(len(test))), test.targets))


def counts_and_boxes(drawings: SketchDataset, examples: np.ndarray) -> np.ndarray:
    """Strokes, points, points a stroke, width, height and the logarithm of their ratio: `(examples, 6)`."""
    rows = np.empty((len(examples), 6))
    for row, example in zip(rows, examples, strict=True):
        steps = drawings.steps(np.array([example]))[0].astype(float)
        strokes = steps[:, 2].sum()
        width, height = np.ptp(steps[:, :2], axis=0)
        row[:] = strokes, len(steps), len(steps) / strokes, width, height, np.log((width + 1) / (height + 1))
    return rows

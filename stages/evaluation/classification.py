"""Metrics and pictures that every classifier gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from . import bootstrap
from .bootstrap import Scores
from .calibration import calibration_figure, expected_calibration_error, reliability
from .report import Report
from .slices import sliced, slices_figure

_TOP = 5
_MOST_CLASSES = 40  # in the picture of the confusion matrix
_UNITS = 2_000  # groups that macro F1 is drawn from at most: each has three numbers a class


def report_classification(
    report: Report,
    probabilities: np.ndarray,
    actual: np.ndarray,
    classes: Sequence[str],
    *,
    names: Sequence[str],
    groups: np.ndarray,
    slices: Mapping[str, tuple[np.ndarray, Sequence[str]]],
) -> None:
    """Accuracy, top-5 accuracy, macro F1, log loss and expected calibration error; each example's answer; the
    accuracy of each class and of further slices; confusion, slices and calibration as pictures.

    `probabilities` is `(examples, classes)`, `actual` `(examples,)` class numbers, `names` what each example is called,
    `groups` `(examples,)` which examples are alike (see `scores`); a slice is the number of its part, `(examples,)`,
    and the names of the parts.
    """
    predicted = probabilities.argmax(axis=1)
    right = predicted == actual
    calibrated = reliability(probabilities.max(axis=1), right)
    accuracy = bootstrap.mean(right, groups)
    report.measured({"ece": expected_calibration_error(calibrated)}, n=len(actual))
    report.scored(
        {
            "accuracy": accuracy,
            "top5_accuracy": bootstrap.mean(_among_likeliest(probabilities, actual), groups),
            "macro_f1": macro_f1(actual, predicted, len(classes), groups),
            "log_loss": bootstrap.mean(_surprise(probabilities, actual), groups),
        }
    )
    report.predictions(
        [classes[number] for number in actual],
        [classes[number] for number in predicted],
        id=names,
        probability=probabilities.max(axis=1).tolist(),
    )
    counts = confusion_matrix(actual, predicted, labels=np.arange(len(classes)))
    report.picture("confusion", confusion_figure(counts, classes))
    parts = {"class": (actual, classes), **slices}
    report.slices(
        [p for kind, (w, names) in parts.items() for p in sliced(accuracy, kind, w, names, higher_is_better=True)]
    )
    report.picture("slices", slices_figure(report.parts, accuracy.value(), "accuracy", highest=1.0))
    report.calibration(calibrated)
    title = f"Expected calibration error {report.metrics['ece']:.3f} on {len(actual):,} examples"
    words = {"expected": "probability of the first answer", "observed": "first answers that are right"}
    report.picture("calibration", calibration_figure(calibrated, title=title, **words))


def mistakes(probabilities: np.ndarray, actual: np.ndarray, count: int) -> tuple[np.ndarray, str]:
    """Up to `count` examples to look at, `(count,)`, and what they are: the mistakes that the network was surest of, or
    where there is none, the right answers that it was least sure of.
    """
    predicted = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != actual)
    if len(wrong):
        chosen = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
        return chosen, f"The {len(chosen)} surest of {len(wrong):,} mistakes among {len(actual):,} examples"
    chosen = np.argsort(sure, kind="stable")[:count]
    return chosen, f"No mistake among {len(actual):,} examples; the {len(chosen)} right answers it was least sure of"


def macro_f1(actual: np.ndarray, predicted: np.ndarray, classes: int, groups: np.ndarray) -> Scores:
    """The mean over the classes of 2 · right / (predicted + actual), for those that occur or are predicted; class
    numbers and groups are `(examples,)`.
    """
    unit = np.unique(groups, return_inverse=True)[1]
    if (count := int(unit.max()) + 1) > _UNITS:
        unit = (np.random.default_rng(0).permutation(count) % _UNITS)[unit]
    parts = np.zeros((int(unit.max()) + 1, 3, classes))
    right = predicted == actual
    for place, (some, labels) in enumerate([(right, actual), (slice(None), predicted), (slice(None), actual)]):
        np.add.at(parts, (unit[some], place, labels[some]), 1)
    return Scores(parts=parts.reshape(len(parts), -1), groups=np.arange(len(parts)), metric=_mean_f1)


def _mean_f1(sums: np.ndarray) -> np.ndarray:
    right, predicted, actual = np.split(sums, 3, axis=1)
    with np.errstate(invalid="ignore"):
        values: np.ndarray = np.nanmean(2 * right / (predicted + actual), axis=1)
    return values


def _among_likeliest(probabilities: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Whether the class is one of the five likeliest, `(examples,)`; of equally likely ones, the first come first."""
    chosen = probabilities[np.arange(len(actual)), actual][:, np.newaxis]
    before = np.arange(probabilities.shape[1]) < actual[:, np.newaxis]
    rank = ((probabilities > chosen) | ((probabilities == chosen) & before)).sum(axis=1)
    return np.asarray(rank < _TOP)


def _surprise(probabilities: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """The negative logarithm of each true class's probability, in nats, `(examples,)`."""
    chosen = probabilities[np.arange(len(actual)), actual]
    return -np.log(np.maximum(chosen, np.finfo(probabilities.dtype).eps))


def confusion_figure(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """A confusion matrix, a row an actual class, coloured by the share of the row; counts `(classes, classes)`.

    Of more than 40 classes, those 40 are drawn that are taken for others, or others for them, most often.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names, title = np.array(classes, dtype=object), ""
    if len(classes) > _MOST_CLASSES:
        confused = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
        kept = np.sort(np.argsort(-confused, kind="stable")[:_MOST_CLASSES])
        counts, shares, names = counts[np.ix_(kept, kept)], shares[np.ix_(kept, kept)], names[kept]
        title = f"The {_MOST_CLASSES} of {len(classes)} classes that are confused most often"
    side = max(4.0, 0.45 * len(names) + 2.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(title=title)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = np.arange(len(names))
    axes.set_xticks(ticks, names.tolist(), rotation=90)
    axes.set_yticks(ticks, names.tolist())
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    for row, column in zip(*np.nonzero(counts), strict=True):
        shade = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=shade)
    return figure

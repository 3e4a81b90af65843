"""Metrics and pictures that every classifier gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from . import bootstrap
from .bootstrap import Scores
from .calibration import calibration_figure, expected_calibration_error, reliability_bins
from .report import Report
from .slices import metric_by_slice, slices_figure

_MAX_CLASSES = 40  # in the picture of the confusion matrix
_MAX_UNITS = 2_000  # that macro F1 is drawn from: each has three numbers a class


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
    """Accuracy, top-5 accuracy, macro F1, log loss and expected calibration error; each example's prediction; accuracy
    by class and by further slices; figures of confusion, slices and calibration.

    `probabilities` is `(examples, classes)`, `actual` `(examples,)` class numbers, `names` what each example is called,
    `groups` `(examples,)` which examples are alike (see `bootstrap`); `slices` are, by what they are sliced by, the
    number of each example's slice, `(examples,)`, and the names of the slices.
    """
    predicted = probabilities.argmax(axis=1)
    right, confidence = predicted == actual, probabilities.max(axis=1)
    calibration = reliability_bins(confidence, right)
    accuracy = bootstrap.mean(right, groups)
    report.add_metrics({"ece": expected_calibration_error(calibration)}, n=len(actual))
    report.add_scores(
        {
            "accuracy": accuracy,
            "top5_accuracy": bootstrap.mean(_in_top_5(probabilities, actual), groups),
            "macro_f1": macro_f1(actual, predicted, len(classes), groups),
            "log_loss": bootstrap.mean(_log_losses(probabilities, actual), groups),
        }
    )
    report.write_predictions(
        [classes[number] for number in actual],
        [classes[number] for number in predicted],
        id=names,
        probability=confidence.tolist(),
    )
    counts = confusion_matrix(actual, predicted, labels=np.arange(len(classes)))
    report.save_figure("confusion", confusion_figure(counts, classes))
    by_kind = {"class": (actual, classes), **slices}
    measured = (metric_by_slice(accuracy, kind, *by, higher_is_better=True) for kind, by in by_kind.items())
    report.write_slices(list(chain.from_iterable(measured)))
    report.save_figure("slices", slices_figure(report.slices, accuracy.value(), "accuracy", highest=1.0))
    report.write_calibration(calibration)
    title = f"Expected calibration error {report.metrics['ece']:.3f} on {len(actual):,} examples"
    labels = {"expected": "predicted probability", "observed": "share of correct answers"}
    report.save_figure("calibration", calibration_figure(calibration, title=title, **labels))


def mistakes(probabilities: np.ndarray, actual: np.ndarray, count: int) -> tuple[np.ndarray, str]:
    """Up to `count` examples to look at, `(count,)`, and what they are: the mistakes that the network was surest of, or
    where there is none, the right answers that it was least sure of.
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != actual)
    if len(wrong):
        chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
        return chosen, f"The {len(chosen)} most confident of {len(wrong):,} mistakes on {len(actual):,} examples"
    chosen = np.argsort(confidence, kind="stable")[:count]
    return chosen, f"No mistakes on {len(actual):,} examples; the {len(chosen)} least confident correct answers"


def macro_f1(actual: np.ndarray, predicted: np.ndarray, classes: int, groups: np.ndarray) -> Scores:
    """The mean over the classes of 2 · right / (predicted + actual), for those that occur or are predicted; class
    numbers and groups are `(examples,)`.
    """
    unit = np.unique(groups, return_inverse=True)[1]
    if (count := int(unit.max()) + 1) > _MAX_UNITS:
        unit = (np.random.default_rng(0).permutation(count) % _MAX_UNITS)[unit]
    counts = np.zeros((int(unit.max()) + 1, 3, classes))
    right = predicted == actual
    for place, (some, labels) in enumerate([(right, actual), (slice(None), predicted), (slice(None), actual)]):
        np.add.at(counts, (unit[some], place, labels[some]), 1)
    return Scores(statistics=counts.reshape(len(counts), -1), groups=np.arange(len(counts)), metric=_mean_f1)


def _mean_f1(sums: np.ndarray) -> np.ndarray:
    right, predicted, actual = np.split(sums, 3, axis=1)
    with np.errstate(invalid="ignore"):
        values: np.ndarray = np.nanmean(2 * right / (predicted + actual), axis=1)
    return values


def _in_top_5(probabilities: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Whether the class is one of the five likeliest, `(examples,)`; of equally likely ones, the first come first."""
    chosen = probabilities[np.arange(len(actual)), actual][:, np.newaxis]
    before = np.arange(probabilities.shape[1]) < actual[:, np.newaxis]
    rank = ((probabilities > chosen) | ((probabilities == chosen) & before)).sum(axis=1)
    return np.asarray(rank < 5)


def _log_losses(probabilities: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """The negative logarithm of each true class's probability, in nats, `(examples,)`."""
    chosen = probabilities[np.arange(len(actual)), actual]
    return -np.log(np.maximum(chosen, np.finfo(probabilities.dtype).eps))


def confusion_figure(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """A confusion matrix, a row an actual class, coloured by the share of the row; counts `(classes, classes)`.

    Of more than 40 classes, those 40 are drawn that are taken for others, or others for them, most often.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names, title = np.array(classes, dtype=object), ""
    if len(classes) > _MAX_CLASSES:
        confused = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
        kept = np.sort(np.argsort(-confused, kind="stable")[:_MAX_CLASSES])
        counts, shares, names = counts[np.ix_(kept, kept)], shares[np.ix_(kept, kept)], names[kept]
        title = f"The {_MAX_CLASSES} of {len(classes)} classes that are confused most often"
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

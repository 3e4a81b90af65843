"""Metrics and pictures that every classifier gets."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, top_k_accuracy_score

from .reporting import Report


def report_classification(report: Report, probabilities: np.ndarray, actual: np.ndarray, classes: list[str]) -> None:
    """Accuracy, top-5 accuracy, macro F1 and log loss; `actual against predicted`; the confusion matrix as a picture.

    `probabilities` is `(examples, classes)`, `actual` `(examples,)` class numbers.
    """
    labels = np.arange(len(classes))
    predicted = probabilities.argmax(axis=1)
    report.measured(
        {
            "accuracy": accuracy_score(actual, predicted),
            "top5_accuracy": top_k_accuracy_score(actual, probabilities, k=5, labels=labels)
            if len(classes) > 5
            else 1.0,
            "macro_f1": f1_score(actual, predicted, labels=labels, average="macro", zero_division=0.0),
            "log_loss": log_loss(actual, probabilities, labels=labels),
        },
        n=len(actual),
    )
    report.predictions((classes[a], classes[p]) for a, p in zip(actual, predicted, strict=True))
    report.picture("confusion", confusion_figure(confusion_matrix(actual, predicted, labels=labels), classes))


def confusion_figure(counts: np.ndarray, classes: list[str]) -> Figure:
    """A confusion matrix, a row an actual class, coloured by the share of the row; counts `(classes, classes)`."""
    side = max(4.0, 0.45 * len(classes) + 2.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = np.arange(len(classes))
    axes.set_xticks(ticks, classes, rotation=90)
    axes.set_yticks(ticks, classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    for row, column in zip(*np.nonzero(counts), strict=True):
        shade = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=shade)
    return figure

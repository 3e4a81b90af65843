"""What classifiers of sequences share: the loss and the ranked answer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def classification_losses(
    logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> dict[str, tuple[Tensor, float]]:
    """`loss` (cross-entropy) and `accuracy` as sums with the number of sequences; logits `(batch, classes)`."""
    loss = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing)
    right = (logits.argmax(dim=1) == targets).sum()
    return {"loss": (loss, float(len(targets))), "accuracy": (right, float(len(targets)))}


def ranked(logits: Tensor, classes: list[str], k: int = 5) -> list[dict[str, object]]:
    """For each row of `(batch, classes)`: label, probability and the `k` likeliest labels with their probabilities."""
    top = torch.softmax(logits.double(), dim=1).topk(min(k, len(classes)), dim=1)
    rows: list[dict[str, object]] = []
    for probabilities, indices in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        labels = [classes[i] for i in indices]
        rows.append(
            {
                "label": labels[0],
                "probability": probabilities[0],
                "top5_labels": labels,
                "top5_probabilities": probabilities,
            }
        )
    return rows

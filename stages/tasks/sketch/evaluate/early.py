"""How much of a drawing the network needs: its accuracy when it has seen only the first points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ....data.evenly import evenly
from ....evaluation.bootstrap import Scores, interval, mean
from ....models.batch import Batch
from ....models.network import Network
from ....training.inference import predict
from ..data.simplify import canonical_steps
from ..data.strokes import Strokes, ranges, starts
from ..model.features import Feature, features
from ..model.network import SketchDataset, padded

SHARES = tuple(tenths / 10 for tenths in range(1, 11))
_MEASURED = (0.2, 0.5, 0.8)  # of SHARES: those that are metrics
_DRAWINGS = 2000  # that are broken off, evenly over the split: each is answered ten times


class Unfinished:
    """Some drawings, each broken off after a share of its points (two at least) and scaled to the whole side, as an
    unfinished drawing of a caller's is.
    """

    def __init__(self, drawings: SketchDataset, examples: np.ndarray, share: float, chosen: Sequence[Feature]) -> None:
        steps, lengths = drawings.steps(examples)
        seen = np.minimum(np.maximum(np.ceil(share * lengths), 2), lengths).astype(np.int64)
        steps = steps[ranges(starts(lengths), seen)]
        pen_up = (steps[:, 2] > 0).astype(np.int64)
        pen_up[np.cumsum(seen) - 1] = 1
        points_per_stroke = np.diff(np.flatnonzero(pen_up), prepend=-1)
        strokes = Strokes(steps[:, :2].astype(float), points_per_stroke, np.add.reduceat(pen_up, starts(seen)))
        canonical, self.lengths = canonical_steps(strokes)
        self._sequences = np.split(canonical, np.cumsum(self.lengths)[:-1])
        self._features = chosen

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, example: int) -> str:
        return str(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Values `(batch, time, features)` float32."""
        steps, lengths = np.concatenate([self._sequences[i] for i in examples]), self.lengths[examples]
        return padded(features(steps, lengths, self._features), lengths)


def accuracy_by_share(network: Network, drawings: SketchDataset, batch_size: int) -> dict[float, Scores]:
    """The accuracy after each of SHARES of the points."""
    some = evenly(len(drawings), _DRAWINGS)
    accuracies = {}
    for share in SHARES:
        logits = predict(network, Unfinished(drawings, some, share, drawings.features), batch_size)
        accuracies[share] = mean(logits.argmax(axis=1) == drawings.targets[some])
    return accuracies


def early_metrics(accuracies: Mapping[float, Scores]) -> dict[str, Scores]:
    """`accuracy_seen_20` and the like: the accuracy after so many per cent of the points."""
    return {f"accuracy_seen_{round(100 * share)}": accuracies[share] for share in _MEASURED}


def early_figure(accuracies: Mapping[float, Scores], chance: float) -> Figure:
    """Accuracy, with its 95 % interval, by the share of the drawing that was seen; `chance` as a line."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    shares = [100 * share for share in accuracies]
    low, high = zip(*(interval(scores) for scores in accuracies.values()), strict=True)
    axes.fill_between(shares, low, high, color="#0b6bcb", alpha=0.2, linewidth=0)
    axes.plot(shares, [scores.value() for scores in accuracies.values()], marker="o", color="#0b6bcb")
    axes.axhline(chance, color="gray", linestyle=":", label="the most frequent class")
    axes.set_xlabel("points seen (% of the drawing)")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right")
    axes.set_title(
        f"Accuracy on unfinished drawings: {len(next(iter(accuracies.values())).statistics):,} drawings, 95 % intervals"
    )
    return figure

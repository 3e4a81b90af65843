"""How much of a drawing the network needs: its accuracy when it has seen only the first points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ....evaluation.bootstrap import Scores, evenly, interval, mean
from ....models.batch import Batch
from ....models.network import Network
from ....training.loop import predict
from ..data.ink import Ink
from ..data.simplify import canonical
from ..model.features import Feature, features
from ..model.network import SketchDataset, padded

SHARES = tuple(tenths / 10 for tenths in range(1, 11))
_MEASURED = (0.2, 0.5, 0.8)  # of SHARES: those that are metrics
_DRAWINGS = 2000  # that are broken off, evenly over the split: each is answered ten times


class Unfinished:
    """Some drawings, each broken off after a share of its points, in the form that such a drawing of a caller's takes:
    what is there is scaled to the whole side. At least two points are there.
    """

    def __init__(self, drawings: SketchDataset, examples: np.ndarray, share: float, chosen: Sequence[Feature]) -> None:
        steps, lengths = drawings.steps(examples)
        seen = np.minimum(np.maximum(np.ceil(share * lengths), 2), lengths).astype(np.int64)
        first = np.cumsum(lengths) - lengths
        place = np.arange(len(steps)) - np.repeat(first, lengths)
        there = place < np.repeat(seen, lengths)
        pen_up = (steps[there, 2] > 0) | (place == np.repeat(seen, lengths) - 1)[there]
        ends = np.flatnonzero(pen_up)
        drawing = np.repeat(np.arange(len(seen)), seen)
        ink = Ink(
            steps[there, :2].astype(np.float64),
            np.diff(ends, prepend=-1),
            np.bincount(drawing[ends], minlength=len(seen)),
        )
        self._steps, self.lengths = canonical(ink)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._features = chosen

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, example: int) -> str:
        return str(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Values `(batch, time, features)` float32."""
        steps = np.concatenate([self._steps[self._starts[i] : self._starts[i] + self.lengths[i]] for i in examples])
        lengths = self.lengths[examples]
        return padded(features(steps, lengths, self._features), lengths)


def accuracy_by_share(network: Network, drawings: SketchDataset, batch_size: int) -> dict[float, Scores]:
    """The accuracy after each of SHARES of the points."""
    some = evenly(len(drawings), _DRAWINGS)
    found = {}
    for share in SHARES:
        logits = predict(network, Unfinished(drawings, some, share, drawings.features), batch_size)
        found[share] = mean(logits.argmax(axis=1) == drawings.targets[some])
    return found


def early_metrics(found: Mapping[float, Scores]) -> dict[str, Scores]:
    """`accuracy_seen_20` and the like: the accuracy after so many per cent of the points."""
    return {f"accuracy_seen_{round(100 * share)}": found[share] for share in _MEASURED}


def early_figure(found: Mapping[float, Scores], chance: float) -> Figure:
    """Accuracy, with its 95 % interval, by the share of the drawing that was seen; `chance` as a line."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    shares = [100 * share for share in found]
    low, high = zip(*(interval(scores) for scores in found.values()), strict=True)
    axes.fill_between(shares, low, high, color="#0b6bcb", alpha=0.2, linewidth=0)
    axes.plot(shares, [scores.value() for scores in found.values()], marker="o", color="#0b6bcb")
    axes.axhline(chance, color="gray", linestyle=":", label="the most frequent class")
    axes.set_xlabel("points seen, % of the drawing")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right")
    axes.set_title(f"Guessing early: {len(next(iter(found.values())).statistics):,} drawings, 95 % intervals")
    return figure

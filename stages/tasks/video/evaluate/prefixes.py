"""The network's answers while a clip goes on: to its first frame, its first two, and so on to all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ....models.batch import Batch, length_mask
from ....training.loop import predict
from ..model.clips import ClipDataset
from ..model.network import ClipClassifier

_MAX_STEPS = 32  # answers to a clip: of a longer one, evenly over its frames
_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixProbabilities:
    """The probabilities of the classes after each of some numbers of frames; the last is the whole clip."""

    seen: np.ndarray  # (steps,) frames that were seen, ascending
    probabilities: np.ndarray  # (steps, classes)


class Prefixes:
    """The beginnings of clips, each an example of its own: a network that reads backwards, or pools over all frames, is
    asked anew after each frame and knows nothing of those to come.
    """

    def __init__(self, clips: ClipDataset, chosen: np.ndarray) -> None:
        self._clips = clips
        self.seen = [_steps(int(clips.lengths[clip])) for clip in chosen]
        self._clip = np.repeat(chosen, [len(seen) for seen in self.seen])
        self.lengths = np.concatenate(self.seen)

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, example: int) -> str:
        return f"{self._clips.name(self._clip[example])}, first {self.lengths[example]} frames"

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """The first frames, or their features, as `ClipDataset` gives those of whole clips."""
        lengths = torch.from_numpy(self.lengths[examples])
        values = self._clips.batch(self._clip[examples]).values[:, : int(lengths.max())]
        unseen = ~length_mask(lengths, values.shape[1])
        return Batch(
            values=values.masked_fill(unseen.reshape(*unseen.shape, *[1] * (values.ndim - 2)), 0), lengths=lengths
        )


def _steps(length: int) -> np.ndarray:
    """After how many of a clip's frames it is asked about, from one to all: `(steps,)` int64."""
    return np.linspace(1, length, min(length, _MAX_STEPS)).round().astype(np.int64)


def predict_prefixes(network: ClipClassifier, clips: ClipDataset, chosen: np.ndarray) -> list[PrefixProbabilities]:
    """The answers to each of the `chosen` clips as it goes on."""
    prefixes = Prefixes(clips, chosen)
    logits = torch.from_numpy(predict(network, prefixes, _BATCH_SIZE)).double()
    ends = np.cumsum([len(seen) for seen in prefixes.seen])[:-1]
    parts = np.split(torch.softmax(logits, dim=1).numpy(), ends)
    return [PrefixProbabilities(seen=seen, probabilities=part) for seen, part in zip(prefixes.seen, parts, strict=True)]

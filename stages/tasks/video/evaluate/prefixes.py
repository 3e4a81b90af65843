"""The network's answers to the prefixes of a clip: its first frame, its first two, and so on to all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ....models.batch import Batch, length_mask
from ....training.inference import predict
from ..model.clips import ClipDataset
from ..model.network import ClipClassifier

_MAX_PREFIXES = 32  # of a clip; of a longer one, evenly over its frames
_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixProbabilities:
    """The probabilities of the classes for some prefixes of a clip; the last is the whole clip."""

    lengths: np.ndarray  # (prefixes,) frames, ascending
    probabilities: np.ndarray  # (prefixes, classes)


class Prefixes:
    """The beginnings of clips, each an example of its own: a network that reads backwards, or pools over all frames,
    must not see the frames to come.
    """

    def __init__(self, clips: ClipDataset, chosen: np.ndarray) -> None:
        self._clips = clips
        self.by_clip = [_prefix_lengths(int(clips.lengths[clip])) for clip in chosen]
        self._clip = np.repeat(chosen, [len(lengths) for lengths in self.by_clip])
        self.lengths = np.concatenate(self.by_clip)

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, example: int) -> str:
        return f"{self._clips.name(self._clip[example])}, first {self.lengths[example]} frames"

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """The first frames, or their features, as `ClipDataset` gives those of whole clips."""
        lengths = torch.from_numpy(self.lengths[examples])
        values = self._clips.batch(self._clip[examples]).values[:, : int(lengths.max())]
        padding = ~length_mask(lengths, values.shape[1])
        padding = padding.reshape(*padding.shape, *[1] * (values.ndim - 2))
        return Batch(values=values.masked_fill(padding, 0), lengths=lengths)


def _prefix_lengths(length: int) -> np.ndarray:
    """The frames in each prefix of a clip, from one to all: `(prefixes,)` int64."""
    return np.linspace(1, length, min(length, _MAX_PREFIXES)).round().astype(np.int64)


def predict_prefixes(network: ClipClassifier, clips: ClipDataset, chosen: np.ndarray) -> list[PrefixProbabilities]:
    """The answers to the prefixes of each of the `chosen` clips."""
    prefixes = Prefixes(clips, chosen)
    logits = torch.from_numpy(predict(network, prefixes, _BATCH_SIZE)).double()
    ends = np.cumsum([len(lengths) for lengths in prefixes.by_clip])[:-1]
    parts = np.split(torch.softmax(logits, dim=1).numpy(), ends)
    return [PrefixProbabilities(lengths=n, probabilities=part) for n, part in zip(prefixes.by_clip, parts, strict=True)]

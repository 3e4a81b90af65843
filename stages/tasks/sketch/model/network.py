"""The sketch classifier: steps, a front, layers that look along the drawing, pooling, a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....data.store import Split
from ....models.batch import Batch, by_length, length_mask
from ....models.classification import Classifier
from ....models.learned import Identities, Learned, ids_of, learned_ids
from ....models.pooling import masked_max, masked_mean
from ....models.recurrent import RecurrentStack
from ....models.transformer import TransformerStack
from ..params import AugmentationParams, ModelParams, Params
from .drawings import Drawings
from .features import Feature, columns, features


def build(params: ModelParams, data: Mapping[str, Any]) -> SketchClassifier:
    """A network with fresh weights for the classes of `description.json`."""
    return SketchClassifier(params, len(data["classes"]))


def dataset(folder: Path, split: Split, params: Params, *, augment: bool) -> SketchDataset:
    """The drawings of a split, or of several."""
    augmentation = params.model.augmentation if augment else None
    return SketchDataset(folder, split, params.model.features, augmentation, seed=params.train.seed)


def learned(folder: Path, split: Split) -> Learned:
    """The drawings that a network is trained and chosen by."""
    return learned_ids(folder, split)


def identities(folder: Path, rows: np.ndarray) -> Identities:
    """Some rows of the store, by their ids."""
    return ids_of(folder, rows)


class SketchClassifier(Classifier):
    """Masked mean and maximum of a sequence's outputs → logits. What is before them is the model's `kind`:

    `conv_lstm`: Conv1D front → bidirectional recurrent layers of the cell that `cell` names; `gru`: bidirectional GRU
    layers over the steps as they are; `transformer`: self-attention over them.

    The padding is set to zero before every convolution, as beyond a sequence's end there is nothing, so that a
    drawing's logits do not depend on what it is batched with.
    """

    features: tuple[Feature, ...]

    def __init__(self, params: ModelParams, classes: int) -> None:
        super().__init__(label_smoothing=params.label_smoothing)
        sizes = [len(columns(params.features)), *(params.conv_channels if params.kind == "conv_lstm" else [])]
        self.convolutions = nn.ModuleList(
            MaskedConv(before, after, params.kernel_size, stride=stride)
            for before, after, stride in zip(sizes, sizes[1:], params.conv_strides, strict=False)
        )
        self.dropout = nn.Dropout(params.dropout)
        self.layers: RecurrentStack | TransformerStack
        if params.kind == "transformer":
            self.layers = TransformerStack(
                sizes[-1], params.hidden_size, layers=params.layers, heads=params.heads, dropout=params.dropout
            )
        else:
            self.layers = RecurrentStack(
                sizes[-1],
                params.hidden_size,
                layers=params.layers,
                cell="gru" if params.kind == "gru" else params.cell,
                bidirectional=True,
                dropout=params.dropout,
                recurrent_dropout=params.recurrent_dropout,
                layer_norm=params.layer_norm,
            )
        self.features = tuple(params.features)
        self.classify = nn.Linear(2 * self.layers.output_size, classes)

    def logits(self, batch: Batch) -> Tensor:
        """`batch.values` `(batch, time, features)` to logits `(batch, classes)`."""
        values, lengths = batch.values, batch.lengths
        for convolution in self.convolutions:
            values, lengths = convolution(values, lengths)
        if self.convolutions:
            values = self.dropout(values)
        values = self.layers(values, lengths)
        mask = length_mask(lengths, values.shape[1])
        pooled = torch.cat([masked_mean(values, mask), masked_max(values, mask)], dim=1)
        return self.classify(self.dropout(pooled))


class MaskedConv(nn.Module):
    """Convolution over time, layer norm, GELU. A sequence ends where it ends: after it the convolution sees zeros."""

    def __init__(self, input_size: int, output_size: int, kernel_size: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.convolution = nn.Conv1d(input_size, output_size, kernel_size, stride=stride, padding=kernel_size // 2)
        self.norm = nn.LayerNorm(output_size)

    def forward(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, time, input_size)` to `(batch, ceil(time / stride), output_size)`, and the lengths of these."""
        values = values * length_mask(lengths, values.shape[1]).unsqueeze(-1)
        values = self.convolution(values.transpose(1, 2)).transpose(1, 2)
        return functional.gelu(self.norm(values)), (lengths + self.stride - 1) // self.stride


class SketchDataset(Drawings):
    """The drawings of a split as batches of features; with an `augmentation`, changed anew in each epoch."""

    def __init__(
        self,
        folder: Path,
        split: Split,
        chosen: Sequence[Feature],
        augmentation: AugmentationParams | None = None,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(folder, split, augmentation, seed=seed)
        self.features = chosen
        self.mirrored = _may_be_mirrored(self.classes, augmentation)[self.targets]

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Values `(batch, time, features)` float32, targets `(batch,)` class numbers."""
        steps, lengths = self.steps(examples, epoch=epoch)
        return padded(features(steps, lengths, self.features), lengths, torch.from_numpy(self.targets[examples]))


def _may_be_mirrored(classes: list[str], augmentation: AugmentationParams | None) -> np.ndarray:
    """Whether drawings of each class mean the same in a mirror, `(classes,)`."""
    never = augmentation.never_mirrored if augmentation else []
    unknown = sorted(set(never) - set(classes))
    if unknown:
        raise ValueError(
            f"sketch.model.augmentation.never_mirrored: found {', '.join(unknown)}; allowed: {', '.join(classes)}"
        )
    return ~np.isin(classes, never)


def padded(values: np.ndarray, lengths: np.ndarray, targets: Tensor | None = None) -> Batch:
    """Features of drawings, one after the other, as a batch padded with zeros to its longest."""
    mask = np.arange(int(lengths.max())) < lengths[:, None]
    filled = np.zeros((*mask.shape, values.shape[1]), dtype=np.float32)
    filled[mask] = values
    return Batch(values=torch.from_numpy(filled), lengths=torch.from_numpy(lengths.astype(np.int64)), targets=targets)


def batches(
    sequences: Sequence[np.ndarray], chosen: Sequence[Feature], batch_size: int
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Canonical steps of drawings, `(time, 3)` each, in batches of drawings of like length: their places, the batch."""
    lengths = np.array([len(steps) for steps in sequences])
    for some in by_length(lengths, batch_size):
        values = features(np.concatenate([sequences[place] for place in some]), lengths[some], chosen)
        yield some, padded(values, lengths[some])

"""The network over clips, and the batches it is fed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..params import ModelParams, Params
from .clips import ClipDataset
from .network import ClipClassifier


def build(params: ModelParams, data: Mapping[str, Any]) -> ClipClassifier:
    """A network with fresh weights for the classes and the frames that `description.json` tells of."""
    return ClipClassifier(params, data["decoding"]["channels"], len(data["classes"]))


def dataset(folder: Path, split: str, params: Params, *, augment: bool) -> ClipDataset:
    """The clips of one split of the prepared data in `folder`."""
    return ClipDataset(folder, split, params.model.augmentation if augment else None, seed=params.train.seed)

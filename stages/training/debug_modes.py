"""Trainings that answer a question instead of giving a model: can the network learn at all, does everything run?"""

from __future__ import annotations

import numpy as np
from torch import nn

from ..models.batch import Batch, Dataset
from ..models.recurrent import RecurrentStack
from ..params import TrainParams
from .batch_sampler import BucketBatchSampler

OVERFIT_STEPS = 300
SMOKE_STEPS = 2


class Subset:
    """Some examples of a dataset; with `augment` false, always as they are."""

    def __init__(self, dataset: Dataset, examples: np.ndarray, *, augment: bool) -> None:
        self._dataset = dataset
        self._examples = examples
        self._augment = augment
        self.lengths = dataset.lengths[examples]

    def __len__(self) -> int:
        return len(self._examples)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        return self._dataset.batch(self._examples[examples], epoch=epoch if self._augment else None)

    def name(self, example: int) -> str:
        return self._dataset.name(int(self._examples[example]))


def apply_mode(
    network: nn.Module, train: Dataset, validation: Dataset, params: TrainParams
) -> tuple[Dataset, Dataset, TrainParams]:
    """The two datasets and the params of a training in `params.mode`.

    `overfit` learns the first batch by heart, without dropout (switched off in `network`), augmentation, weight decay
    or a schedule: a network that cannot bring its loss near 0 there has a fault, and more data will not mend it
    (Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 11.5). `smoke` takes two steps and two validation
    batches.
    """
    if params.mode == "full":
        return train, validation, params
    sampler = BucketBatchSampler(
        train.lengths, params.batch_size, seed=params.seed, epoch=0, batch_tokens=params.batch_tokens
    )
    if params.mode == "smoke":
        steps = [sampler[step] for step in range(min(SMOKE_STEPS, len(sampler)))]
        few = Subset(train, np.concatenate(steps), augment=True)
        measured = Subset(validation, np.arange(min(len(validation), SMOKE_STEPS * params.batch_size)), augment=False)
        largest = max(len(step) for step in steps)
        return few, measured, params.model_copy(update={"epochs": 1, "batch_size": largest, "batch_tokens": 0})
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            module.dropout = 0.0
        elif isinstance(module, RecurrentStack):
            module.recurrent_dropout = 0.0
    batch = Subset(train, sampler[0], augment=False)
    changed = {
        "epochs": OVERFIT_STEPS,
        "batch_size": len(batch),
        "batch_tokens": 0,
        "patience": OVERFIT_STEPS,
        "schedule": "constant",
        "weight_decay": 0.0,
        "ema_decay": 0.0,
        "monitor": "loss",
    }
    return batch, batch, params.model_copy(update=changed)

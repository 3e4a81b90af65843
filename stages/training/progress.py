"""Where a training is, and its history: what a checkpoint holds beside tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .inference import Totals

MAX_STEP_RECORDS = 1000  # rows of the curve by step


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """The figures of an epoch. The last five are for MLflow alone: outputs stay pure."""

    epoch: int
    train: Mapping[str, float]
    validation: Mapping[str, float]
    learning_rate: float
    gradient_norm: float  # mean over the steps, before clipping
    padding_share: float  # 0 to 1
    steps: int  # of the whole training so far
    seconds: float
    sequences_per_second: float
    data_wait_share: float  # of the time, 0 to 1: how long steps waited for their batch
    compiled_graphs: int  # so far, in this process; 0 without `train.compile`


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """The figures of a step, or the means of several where a training has more than `MAX_STEP_RECORDS`."""

    step: int  # of the whole training, from 0; of several, the last
    loss: float
    gradient_norm: float
    learning_rate: float
    padding_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingHistory:
    """All records of a training; the network holds the weights of `best_epoch`."""

    epochs: tuple[Epoch, ...]
    step_records: tuple[StepRecord, ...]
    monitored: tuple[float, ...]  # of each epoch; less is better
    best_epoch: int  # the best, or the last where params choose that

    @property
    def still_improving(self) -> bool:
        """Whether the last epoch was better than all before it: more of them may be better still."""
        *before, last = self.monitored
        return math.isfinite(last) and not any(value <= last for value in before)


@dataclass(kw_only=True, slots=True)
class StepSums:
    """Sums over some steps of the optimizer; `real_steps` and `padded_steps` are of sequences."""

    count: int = 0
    loss: float = 0.0
    gradient_norm: float = 0.0
    learning_rate: float = 0.0
    real_steps: int = 0
    padded_steps: int = 0

    def add(self, other: StepSums) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def mean_gradient_norm(self) -> float:
        return self.gradient_norm / max(1, self.count)

    @property
    def padding_share(self) -> float:
        return 1.0 - self.real_steps / max(1, self.padded_steps)


@dataclass(kw_only=True)
class Progress:
    """Where a training is, beside its tensors; JSON keeps it to the bit."""

    epochs: list[Epoch] = field(default_factory=list)
    step_records: list[StepRecord] = field(default_factory=list)
    unrecorded: StepSums = field(default_factory=StepSums)  # the steps after the last record
    monitored: list[float] = field(default_factory=list)  # the monitored value of each epoch; less is better
    best_epoch: int = -1
    epoch: int = 0  # the one at hand
    steps: StepSums = field(default_factory=StepSums)  # its steps so far
    totals: Totals = field(default_factory=Totals)  # its losses

    def add_step(self, step: StepSums, losses: Mapping[str, Sequence[float]]) -> None:
        self.steps.add(step)
        self.unrecorded.add(step)
        self.totals.add(losses)

    def record_steps(self, last: int) -> StepRecord:
        """One record of all steps since the last record; `last` is the number of the newest step."""
        sums, self.unrecorded = self.unrecorded, StepSums()
        record = StepRecord(
            step=last,
            loss=sums.loss / sums.count,
            gradient_norm=sums.mean_gradient_norm,
            learning_rate=sums.learning_rate / sums.count,
            padding_share=sums.padding_share,
        )
        self.step_records.append(record)
        return record

    def out_of_patience(self, patience: int) -> bool:
        """Whether so many epochs in a row were worse than the best."""
        return self.epoch - 1 - self.best_epoch >= patience

    def history(self) -> TrainingHistory:
        """What remains of a training that has ended."""
        return TrainingHistory(
            epochs=tuple(self.epochs),
            step_records=tuple(self.step_records),
            monitored=tuple(self.monitored),
            best_epoch=self.best_epoch,
        )

    def add_epoch(self, record: Epoch, monitored: float, *, chosen: bool = False) -> bool:
        """Add an epoch's record and begin the next one; returns whether it is the best so far, or `chosen` as such.

        Of epochs that are level the last is the best: on few examples an accuracy has few values, and its best one may
        be there while the learning rate still rises.
        """
        self.epochs.append(record)
        self.monitored.append(monitored)
        none_before = self.best_epoch < 0
        is_best = monitored < math.inf if none_before else monitored <= self.monitored[self.best_epoch]
        if is_best or chosen:
            self.best_epoch = record.epoch
        self.epoch, self.steps, self.totals = record.epoch + 1, StepSums(), Totals()
        return is_best or chosen

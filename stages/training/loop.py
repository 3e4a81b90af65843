"""The training loop: data parallel, scheduled, stopped early, resumed to the bit.

A step takes one batch of the epoch's sampler, whatever the number of ranks: each rank computes its shard of it, and
the sums of loss, weight and gradient are added up before they are divided. So the ranks change the speed and, up to
rounding and to dropout's masks, nothing else, and so does the number of parts that a step is computed in.

All that a step draws is a function of the seed, the step and the rank. With the weights, the optimizer's moments and
the sums of the epoch at hand, the position alone says how to go on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter
from torch import Tensor

from ..metrics import higher_is_better
from ..models.batch import Dataset
from ..models.network import Network
from ..params import TrainParams
from ..progress_bar import ProgressBar
from . import distributed
from .batch_sampler import BucketBatchSampler, padding
from .checkpoint import Checkpoints
from .distributed import device
from .inference import measure
from .optimizer import Optimizer
from .prefetch import Prefetcher
from .progress import MAX_STEP_RECORDS, Epoch, Progress, StepRecord, StepSums, TrainingHistory
from .schedule import factor
from .step import Part, Step, Steps, steps_between_waits
from .step import TrainingError as TrainingError

_FEED_THREADS = 4  # that make batches for a GPU; the order of the batches, and what is in them, is the same


class Stopped(Exception):
    """Training was asked to stop, and its state is saved."""


def fit(
    network: Network,
    train: Dataset,
    validation: Dataset,
    params: TrainParams,
    *,
    checkpoints: Checkpoints | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step_record: Callable[[StepRecord], None] = lambda record: None,
) -> TrainingHistory:
    """Train `network` and leave the weights of its best epoch in it, or of its last, as `params.choose` says.

    The best epoch has the best validation value of `params.monitor`; of those that are level in it, it is the last. To
    choose the last is to train for all epochs, whatever is measured. With `checkpoints`, a training
    that was stopped goes on where it was, and `on_epoch` and `on_step_record` are called for the new ones only. Once
    `stop_requested` is true on any rank, all ranks raise Stopped after the step at hand, or the few that a GPU has been
    given beside it (`step.steps_between_waits`). Raises TrainingError for a loss or gradient that is not finite, for
    full memory and, in the first step, for a monitor that the network does not measure or that has no direction.
    """
    if params.mode != "overfit":  # which asks what the gradients learn
        network.fit_without_gradients(train)
    training = _Training(network, train, params, checkpoints, stop_requested, on_step_record)
    training.resume()
    progress = training.progress
    started = progress.epoch
    while progress.epoch < params.epochs and not progress.out_of_patience(params.patience):
        pace = training.run_epoch(progress.epoch)
        with training.optimizer.averaged_weights():
            record = training.epoch_record(pace, measure(network, validation, params.batch_size))
            on_epoch(record)
            training.end_epoch(record)
    if progress.best_epoch < 0:
        raise TrainingError(f"{params.monitor} was never a finite number on the validation split")
    if not math.isfinite(progress.monitored[progress.best_epoch]):
        raise TrainingError(f"{params.monitor} is not a finite number on the validation split after the last epoch")
    if progress.epoch > started:
        training.save()  # a refit that is stopped needs this training as it ended
    network.load_state_dict(training.best_weights)
    return progress.history()


def refit(
    network: Network,
    data: Dataset,
    params: TrainParams,
    measured: TrainingHistory,
    *,
    checkpoints: Checkpoints | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step_record: Callable[[StepRecord], None] = lambda record: None,
) -> TrainingHistory:
    """Train a fresh `network` on more data, as long as an earlier training took to the epoch that it kept, and leave
    the last weights in it.

    As many passes over the data as `measured` had up to its best epoch, so that the steps grow with the data. Each step
    has the learning rate that the earlier training had after the same share of its steps: warm-up and cosine are those
    of `params.epochs` passes, left where the best epoch left them, and a plateau is where it was. Nothing is held back
    to measure on: the records have no validation values, and the last of `measured` are what the schedule reads.
    Steps are numbered on from those of `measured`. The rest is as in `fit`.
    """
    before = measured.epochs[-1].steps
    network.fit_without_gradients(data)
    training = _Training(network, data, params, checkpoints, stop_requested, on_step_record, before)
    training.resume()
    progress = training.progress
    while progress.epoch <= measured.best_epoch:
        pace = training.run_epoch(progress.epoch)
        with training.optimizer.averaged_weights():
            record = training.epoch_record(pace, {})
            on_epoch(record)
            if record.epoch == measured.best_epoch:
                training.keep_weights()
        progress.add_epoch(record, measured.monitored[record.epoch], chosen=True)
    network.load_state_dict(training.best_weights)
    return progress.history()


class _Pace(NamedTuple):
    """How fast an epoch was, or the part of it after a stop."""

    seconds: float
    sequences: int
    waited: float  # seconds, for data


@dataclass
class _Training:
    """A training on its way: what a step changes, and how it is saved."""

    _network: Network
    _dataset: Dataset
    _params: TrainParams
    _checkpoints: Checkpoints | None
    _stop_requested: Callable[[], bool]
    _on_step_record: Callable[[StepRecord], None]
    _steps_before: int = 0  # of the training that this one follows; its steps are numbered on

    def __post_init__(self) -> None:
        self._device = device()
        self._network.to(self._device)
        if distributed.ranks() > 1:  # machines of different kinds may draw different first weights from one seed
            self._network.load_state_dict(distributed.broadcast(self._network.state_dict()))
        self.optimizer = Optimizer(self._network, self._params, self._device)
        self._takes = Steps(self._network, self._dataset, self._params, self.optimizer, self._device)
        self._steps_between_waits = steps_between_waits(self._device, self._params)
        self._steps_per_epoch = len(self._sampler(0))
        self._steps = self._steps_per_epoch * self._params.epochs
        self._steps_per_record = max(1, math.ceil(self._steps / MAX_STEP_RECORDS))
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] = {}

    @property
    def steps_done(self) -> int:
        """Steps of the whole training that have been taken, and noted."""
        return self.progress.epoch * self._steps_per_epoch + self.progress.steps.count

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step of the whole training, of those whose `lr_multiplier` is 1."""
        return self._params.learning_rate * factor(self._params, step, self._steps, self.progress.monitored)

    def run_epoch(self, epoch: int) -> _Pace:
        """Take the epoch's steps that are left."""
        sampler, first = self._sampler(epoch), self.progress.steps.count
        threads = _FEED_THREADS if self._device.type == "cuda" else 1

        def made(step: int) -> tuple[np.ndarray, list[Part]]:
            examples = sampler[step]
            return examples, self._takes.parts(examples, epoch)

        batches = Prefetcher(made, range(first, len(sampler)), threads=threads)
        started, sequences = time.perf_counter(), 0
        self._network.train()
        title = f"epoch {epoch + 1}/{self._params.epochs}"
        with ProgressBar(title, unit="steps", total=len(sampler), done=first) as bar:
            for within, (examples, parts) in batches:
                number = epoch * self._steps_per_epoch + within
                rate = self.learning_rate(number)
                step = Step(
                    epoch=epoch, within=within, number=number, learning_rate=rate, examples=examples, parts=parts
                )
                self._takes.take(step, stop=self._stop_requested())
                sequences += len(examples)
                bar.update()
                if (within + 1) % self._steps_between_waits == 0 or within + 1 == len(sampler):
                    bar.note(f"loss={self._note_steps():.4f}")
        return _Pace(time.perf_counter() - started, sequences, batches.waited)

    def epoch_record(self, pace: _Pace, validation: Mapping[str, float]) -> Epoch:
        """The figures of the epoch at hand, whose steps are taken."""
        progress, seconds = self.progress, pace.seconds
        return Epoch(
            epoch=progress.epoch,
            train=progress.totals.means(),
            validation=validation,
            learning_rate=self.learning_rate(self.steps_done - 1),
            gradient_norm=progress.steps.mean_gradient_norm,
            padding_share=progress.steps.padding_share,
            steps=self._steps_before + self.steps_done,
            seconds=seconds,
            sequences_per_second=pace.sequences / seconds if seconds else 0.0,
            data_wait_share=pace.waited / seconds if seconds else 0.0,
            compiled_graphs=self._takes.compiled_graphs,
        )

    def end_epoch(self, record: Epoch) -> None:
        """Note an epoch and keep its weights where it is the best, or the last."""
        monitor = self._params.monitor
        value = record.validation[monitor]
        last = self._params.choose == "last"
        if self.progress.add_epoch(record, -value if higher_is_better(monitor) else value, chosen=last):
            self.keep_weights()

    def keep_weights(self) -> None:
        """Keep the weights as they are, as the best so far."""
        self.best_weights = {k: v.detach().cpu().clone() for k, v in self._network.state_dict().items()}

    def _sampler(self, epoch: int) -> BucketBatchSampler:
        params = self._params
        return BucketBatchSampler(
            self._dataset.lengths, params.batch_size, seed=params.seed, epoch=epoch, batch_tokens=params.batch_tokens
        )

    def _note_steps(self) -> float:
        """Wait for the steps taken, note what they came to, save and stop where it is time; the newest one's loss."""
        found = []
        for figures in self._takes.figures():
            found.append(figures)
            real, padded = padding(self._dataset.lengths, [figures.step.examples])
            sums = StepSums(
                count=1,
                loss=figures.loss,
                gradient_norm=figures.gradient_norm if math.isfinite(figures.gradient_norm) else 0.0,
                learning_rate=figures.step.learning_rate,
                real_steps=real,
                padded_steps=padded,
            )
            self.progress.add_step(sums, figures.losses)
            if self.progress.unrecorded.count >= self._steps_per_record:
                self._on_step_record(self.progress.record_steps(self._steps_before + self.steps_done - 1))
        stop = any(figures.stop for figures in found)
        if stop or (self._checkpoints and self._checkpoints.due(self.steps_done, taken=len(found))):
            self.save()
        if stop:
            raise Stopped
        return found[-1].loss

    def save(self) -> None:
        """Save all that `resume` takes up; rank 0 does."""
        if self._checkpoints is None or distributed.rank() != 0:
            return
        tensors, scaler = self.optimizer.state()
        tensors |= {f"weights.{name}": tensor for name, tensor in self._network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        facts = {"steps": self._steps_before + self.steps_done, "progress": asdict(self.progress), "scaler": scaler}
        self._checkpoints.save(tensors, facts)

    def resume(self) -> None:
        """Take up the saved state, where there is one; rank 0 reads it and hands it to the others."""
        saved = self._checkpoints.load() if self._checkpoints and distributed.rank() == 0 else None
        saved = distributed.broadcast(saved)
        if saved is None:
            return
        tensors, facts = saved
        self._network.load_state_dict(_below("weights.", tensors))
        self.best_weights = _below("best.", tensors)
        self.optimizer.load_state(tensors, facts["scaler"])
        self.progress = TypeAdapter(Progress).validate_python(facts["progress"])


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

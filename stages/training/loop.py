"""The training loop: data parallel, clipped, scheduled, stopped early, resumed to the bit.

A step takes one batch of the epoch's plan, whatever the number of ranks: each rank computes its share of it, and the
sums of loss, weight and gradient are added up before they are divided. So the ranks change the speed and nothing else,
and so does the number of parts that a step is computed in.

All that a step draws is a function of the seed, the step and the rank. With the weights, the optimizer's moments and
the sums of the epoch at hand, the position alone says how to go on.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..metrics import higher_is_better
from ..models.batch import Batch, Dataset, by_length
from ..models.counter_rng import mix
from ..models.network import Network, Sums
from ..params import TrainParams
from . import distributed
from .batch_plan import Plan, padding, share
from .checkpoint import Checkpoints
from .distributed import StageError, device
from .prefetch import Feed
from .schedule import factor

Answer = TypeVar("Answer")

STRETCHES = 1000  # rows of the curve by step at the most: a longer training has means of several steps


class TrainingError(StageError):
    """Training cannot go on; the message says at which epoch and step and why."""


class Stopped(Exception):
    """Training was asked to stop, and its state is saved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """What one epoch came to. The last four are for MLflow alone: outputs stay pure."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """What one step came to, or the mean of several where a training has more than `STRETCHES`."""

    step: int  # of the whole training, the stretch's last, from 0
    loss: float
    gradient_norm: float
    learning_rate: float
    padding_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """The history of a training; the network holds the weights of `best_epoch`."""

    epochs: tuple[Epoch, ...]
    stretches: tuple[Stretch, ...]
    best_epoch: int


def configure(*, seed: int, threads: int) -> None:
    """Make this process deterministic: same seed, same number of threads, same bits on the same kind of machine."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        # The CPU's kernels that we use are deterministic as they are, and this call imports the compiler: 4 s.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def fit(
    network: Network,
    train: Dataset,
    validation: Dataset,
    params: TrainParams,
    *,
    checkpoints: Checkpoints | None = None,
    stop_asked: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_stretch: Callable[[Stretch], None] = lambda stretch: None,
) -> Fit:
    """Train `network` and leave the weights of its best epoch in it.

    The best epoch has the best validation value of `params.monitor`. With `checkpoints`, a training that was stopped
    goes on where it was, and `on_epoch` and `on_stretch` are called for the new ones only. Where `stop_asked` answers
    true on any rank, all ranks raise Stopped after the step at hand. Raises TrainingError for a loss or gradient that
    is not finite and for a monitor that the network does not measure.
    """
    training = _Training(network, train, params, checkpoints, stop_asked, on_stretch)
    training.resume()
    progress = training.progress
    for epoch in range(progress.epoch, params.epochs):
        seconds, sequences, waited = training.run_epoch(epoch)
        with training.averaged():
            record = Epoch(
                epoch=epoch,
                train=progress.totals.means(),
                validation=measure(network, validation, params.batch_size),
                learning_rate=training.learning_rate,
                gradient_norm=progress.gradient_norms / max(1, progress.steps),
                padding_share=1.0 - progress.real_steps / max(1, progress.padded_steps),
                steps=training.done,
                seconds=seconds,
                sequences_per_second=sequences / seconds if seconds else 0.0,
                data_wait_share=waited / seconds if seconds else 0.0,
            )
            on_epoch(record)
            training.end_epoch(record)
        if epoch - progress.best_epoch >= params.patience:
            break
    if progress.best_epoch < 0:
        raise TrainingError(f"{params.monitor} was never a finite number on the validation split")
    network.load_state_dict(training.best_weights)
    return Fit(epochs=tuple(progress.epochs), stretches=tuple(progress.stretches), best_epoch=progress.best_epoch)


def measure(network: Network, dataset: Dataset, batch_size: int) -> dict[str, float]:
    """The network's losses over a whole dataset, each divided once by its whole weight; over all ranks."""
    totals = Totals()
    names: list[str] = []
    rank, ranks = distributed.rank(), distributed.ranks()
    mine = [examples for i, examples in enumerate(by_length(dataset.lengths, batch_size)) if i % ranks == rank]
    with evaluating(network):
        for _, batch in Feed(lambda i: dataset.batch(mine[i]), range(len(mine))):
            names, vector = _vector(network.losses(batch.to(_where(network))), _where(network))
            totals.add(names, vector.tolist())
    everywhere = distributed.from_all(totals)
    return Totals.merged(everywhere).means()


def predict(
    network: Network, dataset: Dataset, batch_size: int, answer: Callable[[Batch], Tensor] | None = None
) -> np.ndarray:
    """`answer(batch)` (or `network(batch)`) for every example, `(examples, …)`, in the dataset's order.

    Ranks share whole batches, so that each gets the same bits as from one process.
    """
    call = answer or network
    if not len(dataset):
        raise ValueError("nothing to predict: the dataset has no examples")

    def answers(examples: np.ndarray) -> np.ndarray:
        return call(dataset.batch(examples).to(_where(network))).cpu().numpy()

    with evaluating(network):
        parts = spread(dataset.lengths, batch_size, answers, title="predict")
    outputs = np.empty((len(dataset), *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
    for examples, part in parts:
        outputs[examples] = part
    return outputs


def spread(
    lengths: np.ndarray, batch_size: int, answer: Callable[[np.ndarray], Answer], *, title: str
) -> list[tuple[np.ndarray, Answer]]:
    """Batches of examples of like lengths, each with `answer(examples)`, computed by all ranks together.

    Ranks share whole batches, so that each gets the same bits as from one process.
    """
    batches = list(by_length(lengths, batch_size))
    mine = batches[distributed.rank() :: distributed.ranks()]
    bar = tqdm(mine, desc=title, unit="batch", leave=False, disable=_no_bar())
    answers = distributed.interleaved(distributed.from_all([answer(examples) for examples in bar]))
    return list(zip(batches, answers, strict=True))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """No dropout, no gradients inside the block."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


class Totals:
    """Sums of `(total, weight)` by name, in float64: means are taken once, over everything."""

    def __init__(self, sums: Mapping[str, Sequence[float]] | None = None) -> None:
        self.sums: dict[str, list[float]] = {name: list(pair) for name, pair in (sums or {}).items()}

    def add(self, names: Sequence[str], vector: Sequence[float]) -> None:
        """Add `[total, weight, total, weight, …]` of some names."""
        for index, name in enumerate(names):
            pair = self.sums.setdefault(name, [0.0, 0.0])
            pair[0] += vector[2 * index]
            pair[1] += vector[2 * index + 1]

    @classmethod
    def merged(cls, parts: Sequence[Totals]) -> Totals:
        """The sum of several."""
        whole = cls()
        for part in parts:
            whole.add(list(part.sums), [value for pair in part.sums.values() for value in pair])
        return whole

    def means(self) -> dict[str, float]:
        """Each total divided by its weight; NaN where nothing was weighed."""
        return {name: total / weight if weight else math.nan for name, (total, weight) in self.sums.items()}


@dataclass(kw_only=True)
class _Progress:
    """Where a training is, beside its tensors. The second half counts within the epoch at hand."""

    epochs: list[Epoch] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    stretch: list[float] = field(default_factory=lambda: [0.0] * 6)
    monitored: list[float] = field(default_factory=list)
    best_epoch: int = -1
    epoch: int = 0
    steps: int = 0
    gradient_norms: float = 0.0
    real_steps: int = 0
    padded_steps: int = 0
    totals: Totals = field(default_factory=Totals)

    def start_epoch(self, epoch: int) -> None:
        self.epoch, self.steps = epoch, 0
        self.gradient_norms, self.real_steps, self.padded_steps, self.totals = 0.0, 0, 0, Totals()

    def facts(self) -> dict[str, Any]:
        """As JSON, from which `restored` makes it again, to the bit."""
        return asdict(self) | {"totals": self.totals.sums}

    @classmethod
    def restored(cls, facts: Mapping[str, Any]) -> _Progress:
        return cls(
            **{
                **facts,
                "epochs": [Epoch(**epoch) for epoch in facts["epochs"]],
                "stretches": [Stretch(**stretch) for stretch in facts["stretches"]],
                "totals": Totals(facts["totals"]),
            }
        )


class _Training:
    """A training on its way: what a step changes, and how it is saved."""

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        params: TrainParams,
        checkpoints: Checkpoints | None,
        stop_asked: Callable[[], bool],
        on_stretch: Callable[[Stretch], None],
    ) -> None:
        self._where = device()
        self._network = network.to(self._where)
        self._dataset = dataset
        self._params = params
        self._checkpoints = checkpoints
        self._stop_asked = stop_asked
        self._on_stretch = on_stretch
        self._weights = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            _weight_groups(network, params.weight_decay), lr=params.learning_rate, fused=True
        )
        # Only float16 is so narrow that small gradients vanish in it (Micikevicius et al., "Mixed Precision
        # Training", 2018).
        self._scaler = torch.amp.GradScaler(self._where.type, enabled=params.precision == "float16")
        self._steps_per_epoch = len(self._plan(0))
        self._steps_per_stretch = max(1, math.ceil(self._steps_per_epoch * params.epochs / STRETCHES))
        self._average: list[Tensor] = []  # of the weights over the steps, in their order, where params ask for it
        self.progress = _Progress()
        self.best_weights: dict[str, Tensor] = {}

    @property
    def done(self) -> int:
        """Steps of the whole training that have been taken."""
        return self.progress.epoch * self._steps_per_epoch + self.progress.steps

    @property
    def learning_rate(self) -> float:
        group = self._optimizer.param_groups[0]
        return float(group["lr"] / group["rate"])

    def run_epoch(self, epoch: int) -> tuple[float, int, float]:
        """Take the epoch's steps that are left; returns seconds, sequences and seconds of waiting for data."""
        progress, params = self.progress, self._params
        if progress.epoch != epoch:
            progress.start_epoch(epoch)
        plan = self._plan(epoch)
        feed = Feed(lambda step: self._batches(plan[step], epoch), range(progress.steps, len(plan)))
        started, sequences = time.perf_counter(), 0
        self._network.train()
        with _bar(epoch, params.epochs, progress.steps, len(plan)) as bar:
            for step, (examples, batches) in feed:
                loss = self._step(epoch, step, examples, batches)
                sequences += len(examples)
                bar.update()
                if not bar.disable:
                    bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        return time.perf_counter() - started, sequences, feed.waited

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network has its weights' moving average inside the block, where params ask for one."""
        if not self._average:
            yield
            return
        weights = self._values()
        kept = [weight.clone() for weight in weights]
        torch._foreach_copy_(weights, self._average)
        try:
            yield
        finally:
            torch._foreach_copy_(weights, kept)

    def _values(self) -> list[Tensor]:
        return [weight.detach() for weight in self._weights]

    def _update_average(self) -> None:
        """Move the average towards the weights: a share of `ema_decay` stays, less at first, when the weights are far
        from where they will be (as in TensorFlow's `ExponentialMovingAverage`).
        """
        if self._average:
            stays = min(self._params.ema_decay, (1 + self.done) / (10 + self.done))
            torch._foreach_lerp_(self._average, self._values(), 1.0 - stays)

    def _plan(self, epoch: int) -> Plan:
        params = self._params
        return Plan(
            self._dataset.lengths, params.batch_size, seed=params.seed, epoch=epoch, batch_tokens=params.batch_tokens
        )

    def end_epoch(self, record: Epoch) -> None:
        """Note an epoch and keep its weights where it is the best."""
        progress = self.progress
        value = _monitored(record.validation, self._params.monitor)
        if value < (progress.monitored[progress.best_epoch] if progress.best_epoch >= 0 else math.inf):
            progress.best_epoch = record.epoch
            self.best_weights = {k: v.detach().cpu().clone() for k, v in self._network.state_dict().items()}
        progress.epochs.append(record)
        progress.monitored.append(value)
        progress.start_epoch(record.epoch + 1)

    def _batches(self, examples: np.ndarray, epoch: int) -> tuple[np.ndarray, list[tuple[Batch, bool]]]:
        """The step's examples, and this rank's batches of them, one a part, each with whether it counts.

        An epoch's last batch may have fewer examples than there are shares: who gets none computes one for nothing.
        """
        parts = self._params.accumulation_steps
        first, count = distributed.rank() * parts, distributed.ranks() * parts
        batches = []
        for part in range(parts):
            mine = share(examples, first + part, count)
            batch = self._dataset.batch(mine if len(mine) else examples[:1], epoch=epoch)
            batches.append((batch.pinned() if self._where.type == "cuda" else batch, len(mine) > 0))
        return examples, batches

    def _step(self, epoch: int, step: int, examples: np.ndarray, batches: Sequence[tuple[Batch, bool]]) -> float:
        """One step of the optimizer; returns the loss."""
        params, progress = self._params, self.progress
        names, vector = self._backward(batches, len(examples))
        _check_monitor(names, params.monitor)  # now, not when the first epoch is over
        asked = vector.new_tensor([self._stop_asked()])
        *sums, stop = distributed.add_up(torch.cat([vector, asked])).tolist()
        total, weight = sums[2 * names.index("loss") :][:2]
        # A batch may hold nothing to learn from, such as seven days of which none was observed.
        loss, scale = (total / weight, len(examples) / weight) if weight else (0.0, 0.0)
        gradients = [p.grad for p in self._weights if p.grad is not None]
        self._add_up_gradients(gradients)
        rate = params.learning_rate * factor(
            params, self.done, self._steps_per_epoch * params.epochs, progress.monitored
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self._scaler.unscale_(self._optimizer)
        # The gradient is that of the sum over the examples' number; the mean divides by the weight.
        norm = _clip(gradients, scale, params)
        if not (math.isfinite(loss) and (math.isfinite(norm) or self._scale_may_fall())):
            reason = self._explained(loss, norm, batches, examples)
            raise TrainingError(f"epoch {epoch}, step {step} (step {self.done} of all): {reason}")
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._update_average()
        norm = norm if math.isfinite(norm) else 0.0
        real, padded = padding(self._dataset.lengths, [examples])
        progress.steps += 1
        progress.real_steps += real
        progress.padded_steps += padded
        progress.gradient_norms += norm
        progress.totals.add(names, sums)
        self._stretch(loss, norm, rate, real, padded)
        if stop or (self._checkpoints and self._checkpoints.due(self.done)):
            self._save()
        if stop:
            raise Stopped
        return loss

    def _backward(self, batches: Sequence[tuple[Batch, bool]], count: int) -> tuple[list[str], Tensor]:
        """Forward and backward over this rank's parts; returns the names and the sums of the losses."""
        self._optimizer.zero_grad(set_to_none=True)
        names: list[str] = []
        vectors: list[Tensor] = []
        for part, (batch, counts) in enumerate(batches):
            self._seed(part)
            with torch.autocast(
                self._where.type,
                dtype=getattr(torch, self._params.precision),
                enabled=self._params.precision != "float32",
            ):
                sums = self._network.losses(batch.to(self._where))
            self._scaler.scale(sums["loss"][0].float() * (float(counts) / count)).backward()
            names, vector = _vector(sums, self._where)
            vectors.append(vector * float(counts))
        return names, torch.stack(vectors).sum(dim=0)

    def _add_up_gradients(self, gradients: list[Tensor]) -> None:
        """Sum the gradients over the ranks, as one flat tensor: always in the same order, so always the same bits."""
        if distributed.ranks() == 1:
            return
        flat = distributed.add_up(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def _seed(self, part: int) -> None:
        """Dropout is drawn by seed, step, rank and part, so there is no state of generators to keep.

        `torch.manual_seed` asks for a stack trace for each kind of device that is not there: a percent of a small step.
        """
        counters = (self._params.seed, self.done, distributed.rank(), part)
        state = np.zeros(1, dtype=np.uint64)
        for counter in counters:
            state = mix(state * np.uint64(31) + np.uint64(counter + 1))
        seed = int(state[0] >> np.uint64(1))
        torch.default_generator.manual_seed(seed)
        if self._where.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _scale_may_fall(self) -> bool:
        """Whether an infinite gradient is float16's, which a smaller scale mends; the step is then left out."""
        return self._scaler.is_enabled() and self._scaler.get_scale() >= 1.0

    def _stretch(self, loss: float, norm: float, rate: float, real: int, padded: int) -> None:
        progress = self.progress
        for index, value in enumerate((1.0, loss, norm, rate, real, padded)):
            progress.stretch[index] += value
        steps, losses, norms, rates, reals, paddeds = progress.stretch
        if steps < self._steps_per_stretch:
            return
        stretch = Stretch(
            step=self.done - 1,
            loss=losses / steps,
            gradient_norm=norms / steps,
            learning_rate=rates / steps,
            padding_share=1.0 - reals / paddeds,
        )
        progress.stretch = [0.0] * 6
        progress.stretches.append(stretch)
        self._on_stretch(stretch)

    def _save(self) -> None:
        if self._checkpoints is None or distributed.rank() != 0:
            return
        tensors = {f"weights.{name}": tensor for name, tensor in self._network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        tensors |= {f"average.{number}": tensor for number, tensor in enumerate(self._average)}
        for number, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        facts = {"steps": self.done, "progress": self.progress.facts(), "scaler": self._scaler.state_dict()}
        self._checkpoints.save(tensors, facts)

    def resume(self) -> None:
        """Take up the saved state, where there is one; rank 0 reads it and hands it to the others."""
        if distributed.ranks() > 1:  # machines of different kinds may draw different first weights from one seed
            self._network.load_state_dict(distributed.from_rank_0(self._network.state_dict()))
        if self._params.ema_decay:
            self._average = [weight.clone() for weight in self._values()]
        found = self._checkpoints.load() if self._checkpoints and distributed.rank() == 0 else None
        found = distributed.from_rank_0(found)
        if found is None:
            return
        tensors, facts = found
        self._network.load_state_dict(_below("weights.", tensors))
        self.best_weights = _below("best.", tensors)
        for number, average in _below("average.", tensors).items():
            self._average[int(number)].copy_(average)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer.", tensors).items():
            number, _, moment = name.partition(".")
            moments.setdefault(int(number), {})[moment] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        self._scaler.load_state_dict(facts["scaler"])
        self.progress = _Progress.restored(facts["progress"])

    def _explained(self, loss: float, norm: float, batches: Sequence[tuple[Batch, bool]], examples: np.ndarray) -> str:
        """What is not finite, the layers where it first shows, and the sequences; from all ranks."""
        layers: list[str] = []
        for part, (batch, _) in enumerate(batches):
            self._seed(part)
            layers += _first_not_finite(self._network, batch.to(self._where))
        layers = sorted({layer for some in distributed.from_all(layers) for layer in some})
        if math.isfinite(loss):
            what = f"the gradient's norm is {norm}"
            layers = (
                layers
                or [
                    name
                    for name, weight in reversed(list(self._network.named_parameters()))
                    if weight.grad is not None and not torch.isfinite(weight.grad).all()
                ][:1]
            )
        else:
            what = f"loss is {loss}"
        where = f"first in {', '.join(layers)}" if layers else "no layer's output is"
        names = [self._dataset.name(int(example)) for example in examples[:8]]
        return f"{what}, not finite; {where}; sequences {', '.join(names)}{' …' if len(examples) > 8 else ''}"


def _clip(gradients: list[Tensor], scale: float, params: TrainParams) -> float:
    """Multiply the gradients by `scale` and clip them; returns their norm before clipping.

    By value, then by norm (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks",
    2013).
    """
    norm = float(nn.utils.get_total_norm(gradients)) * scale
    bounded = norm
    if params.clip_value:
        torch._foreach_mul_(gradients, scale)
        torch._foreach_clamp_min_(gradients, -params.clip_value)
        torch._foreach_clamp_max_(gradients, params.clip_value)
        bounded, scale = float(nn.utils.get_total_norm(gradients)), 1.0
    if params.max_grad_norm and bounded > params.max_grad_norm:
        scale *= params.max_grad_norm / bounded
    if scale != 1.0:
        torch._foreach_mul_(gradients, scale)
    return norm


def _vector(sums: Sums, where: torch.device) -> tuple[list[str], Tensor]:
    """The names in order, and `[total, weight, total, weight, …]` in float64."""
    names = sorted(sums)
    values = [torch.as_tensor(value, dtype=torch.float64, device=where) for name in names for value in sums[name]]
    return names, torch.stack([value.detach() for value in values])


def _first_not_finite(network: Network, batch: Batch) -> list[str]:
    """The first layer whose output on the batch is not finite, if there is one."""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, tuple) else (output,)
            if not found and any(isinstance(t, Tensor) and not torch.isfinite(t).all() for t in tensors):
                found.append(f"{name} ({type(module).__name__})")

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network.losses(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _where(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _weight_groups(network: Network, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for matrices, none for biases and norms, which do not overfit by growing; each has its `rate`."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            groups.setdefault((weight.ndim >= 2, network.rate(name)), []).append(weight)
    return [
        {"params": weights, "weight_decay": weight_decay if matrices else 0.0, "rate": rate}
        for (matrices, rate), weights in groups.items()
    ]


def _check_monitor(names: Collection[str], monitor: str) -> None:
    if monitor not in names:
        raise TrainingError(f"train.monitor: found {monitor!r}; this network measures: {', '.join(sorted(names))}")


def _monitored(values: Mapping[str, float], monitor: str) -> float:
    """The monitored value, turned so that less is better."""
    value = values[monitor]
    return -value if higher_is_better(monitor) else value


def _bar(epoch: int, epochs: int, first: int, steps: int) -> tqdm[Any]:
    title = f"epoch {epoch + 1}/{epochs}"
    return tqdm(total=steps, initial=first, desc=title, unit="step", leave=False, disable=_no_bar())


def _no_bar() -> bool | None:
    """No bar but rank 0's; None lets tqdm hide that one where there is no terminal."""
    return True if distributed.rank() else None

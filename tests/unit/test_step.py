"""A step of the training: what its host waits for, and what it says when it cannot go on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from stages.models.batch import Batch
from stages.models.network import Network
from stages.params import TrainParams
from stages.training import distributed, inference, launch, loop, memory
from stages.training import step as steps
from stages.training.batch_sampler import BucketBatchSampler
from stages.training.checkpoint import Checkpoints
from stages.training.distributed import StageError
from stages.training.gradients import buckets_of
from stages.training.prefetch import Prefetcher
from stages.training.progress import StepRecord
from tests.unit.test_loop import PARAMS, Linear, Sums

WAITS = "UNROLL_STEPS_BETWEEN_WAITS"


def trained(network: Network, params: TrainParams = PARAMS, **hooks: Any) -> list[float]:
    """The losses of all steps."""
    return [record.loss for record in loop.fit(network, Sums(), Sums(seed=1), params, **hooks).step_records]


def linear() -> Linear:
    distributed.configure(seed=1, threads=1)
    return Linear()


class Asked(TorchDispatchMode):
    """Counts what makes a host wait for its device: numbers that become Python's, shapes that depend on numbers."""

    WAITING = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.equal", "aten.is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(func).rpartition(".")[0]
        if name in self.WAITING:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "changes", [{}, {"clip_value": 0.5}, {"ema_decay": 0.9}, {"precision": "bfloat16"}, {"accumulation_steps": 2}]
)
def test_a_step_waits_for_nothing_on_the_device(changes: dict[str, Any]) -> None:
    params = PARAMS.model_copy(update=changes)
    network, data = linear(), Sums()
    optimizer = steps.Optimizer(network, params, torch.device("cpu"))
    taking = steps.Steps(network, data, params, optimizer, torch.device("cpu"))
    with Asked() as asked:
        for number in range(5):
            examples = np.arange(8) + number
            parts = taking.parts(examples, 0)
            step = steps.Step(epoch=0, within=number, number=number, learning_rate=0.1, examples=examples, parts=parts)
            taking.take(step, stop=number == 3)
    assert not asked.counts
    assert [figures.stop for figures in taking.figures()] == [False, False, False, True, False]


def test_how_rarely_the_host_looks_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    params = PARAMS.model_copy(update={"ema_decay": 0.9})
    often, rarely = linear(), linear()
    losses = trained(often, params)
    monkeypatch.setenv(WAITS, "3")
    assert trained(rarely, params) == losses
    assert all(torch.equal(one, other) for one, other in zip(often.parameters(), rarely.parameters(), strict=True))


def test_how_often_a_device_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WAITS, raising=False)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert steps.steps_between_waits(cpu, PARAMS) == 1
    assert steps.steps_between_waits(gpu, PARAMS) == 10
    assert steps.steps_between_waits(gpu, PARAMS.model_copy(update={"precision": "float16"})) == 1
    monkeypatch.setenv(WAITS, "25")
    assert steps.steps_between_waits(cpu, PARAMS) == 25


class Late(Linear):
    """Its gradient is not finite on one of the sequences."""

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        assert batch.targets is not None
        found = super().losses(batch)
        if float(Sums().sequences[0].sum()) not in batch.targets.tolist():
            return found
        total, weight = found["loss"]
        return {**found, "loss": (total + (self.head.weight * 0.0).sum().sqrt(), weight)}  # its slope at 0


def test_a_step_that_is_not_finite_is_named_however_late_the_host_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told, weights, recorded = [], [], []
    for waits in ("1", "2", "5"):
        monkeypatch.setenv(WAITS, waits)
        distributed.configure(seed=1, threads=1)
        network = Late()
        checkpoints = Checkpoints(tmp_path / waits, seconds=1e9, steps=1)
        records: list[StepRecord] = []
        with pytest.raises(loop.TrainingError) as error:
            loop.fit(network, Sums(), Sums(seed=1), PARAMS, checkpoints=checkpoints, on_step_record=records.append)
        recorded.append([(record.step, record.loss) for record in records])
        told.append(str(error.value))
        weights.append([weight.tolist() for weight in network.parameters()])
        saved = checkpoints.load()
        assert saved is None or all(tensor.isfinite().all() for tensor in saved[0].values())
    assert told[0] == told[1] == told[2]
    assert "the gradient's norm is nan, not finite; first in head.weight" in told[0]
    assert "sum 0" in told[0]
    assert weights[0] == weights[1] == weights[2]
    assert recorded[0] == recorded[1] == recorded[2] != []  # all steps before it are in the curve
    assert all(math.isfinite(number) for number in weights[0][1])


FULL: dict[str, Callable[[], Exception]] = {
    "GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "CPU": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
    "cuDNN": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "Python": MemoryError,
}


@pytest.mark.parametrize("kind", FULL)
def test_full_memory_is_one_line_with_the_steps_shape(kind: str) -> None:
    class Greedy(Linear):
        def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
            raise FULL[kind]()

    where = r"epoch 0, step 0 \(step 0 of all\): out of memory on cpu, rank 0: 8 sequences of up to \d steps at once; "
    what = r"lower train\.batch_size or train\.batch_tokens, or raise train\.accumulation_steps$"
    with pytest.raises(loop.TrainingError, match=where + what):
        trained(Greedy())


def test_another_error_stays_what_it_is() -> None:
    class Wrong(Linear):
        def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match=r"^shapes differ$"):
        trained(Wrong())
    assert not memory.is_full(StageError("out of memory"))  # which has been told already


@pytest.mark.parametrize("kind", FULL)
def test_a_rank_with_full_memory_is_not_started_again(kind: str) -> None:
    def work() -> None:
        raise FULL[kind]()

    assert (launch._as_rank("train", 1, work) or "").startswith("out of memory: ")
    with pytest.raises(StageError, match=r"^out of memory: .*; lower train\.batch_size$"):
        launch.run("train", "sketch", 1, work)


def test_a_rank_whose_error_has_no_text_does_not_pass_for_one_that_succeeded() -> None:
    def work() -> None:
        raise StageError

    assert launch._as_rank("train", 1, work) == "StageError"


@pytest.mark.parametrize("kind", FULL)
def test_one_of_several_ranks_with_full_memory_ends_and_keeps_nobody_waiting(kind: str) -> None:
    """torchrun would hold one that returned, with its connections open, until the others had returned, too."""
    error = FULL[kind]()

    def work() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        launch._as_rank("train", 2, work)
    assert raised.value is error


def test_buckets_hold_all_weights_from_the_last_to_the_first() -> None:
    weights = [nn.Parameter(torch.empty(size)) for size in (3, 4, 50, 5, 6, 7)]
    sizes = [[weight.numel() for weight in bucket] for bucket in buckets_of(weights, most=13, most_in_last=8)]
    assert sizes == [[7, 6], [5], [50], [4, 3]]
    sizes = [[weight.numel() for weight in bucket] for bucket in buckets_of(weights, most=100, most_in_last=2)]
    assert sizes == [[7, 6, 5, 50, 4, 3], []]
    assert [len(bucket) for bucket in buckets_of(weights)] == [6]


def test_threads_that_make_batches_change_neither_order_nor_content() -> None:
    lengths = np.random.default_rng(0).integers(1, 30, size=4000)
    sampler = BucketBatchSampler(lengths, 4, seed=1, epoch=0)
    alone = [step.tolist() for step in BucketBatchSampler(lengths, 4, seed=1, epoch=0)]
    fed = Prefetcher(lambda step: sampler[step].tolist(), range(len(sampler)), threads=8)
    assert list(fed) == list(enumerate(alone))


def test_a_state_is_due_where_one_of_the_steps_taken_was(tmp_path: Path) -> None:
    by_steps = Checkpoints(tmp_path, seconds=1e9, steps=5)
    assert [step for step in range(3, 31, 3) if by_steps.due(step, taken=3)] == [6, 12, 15, 21, 27, 30]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_training_learns_the_same_in_few_graphs(precision: Any) -> None:
    """Of batches of all lengths and sizes: the first compilation takes a minute."""
    params = PARAMS.model_copy(update={"precision": precision, "batch_size": 7})
    losses, compiled = (trained(linear(), params.model_copy(update={"compile": on})) for on in (False, True))
    assert compiled == pytest.approx(losses, rel=1e-5 if precision == "float32" else 0.05)
    network = linear()
    history = loop.fit(network, Sums(), Sums(seed=1), params.model_copy(update={"compile": True}))
    assert 1 <= history.epochs[-1].compiled_graphs <= 6
    assert inference.measure(network, Sums(seed=1), 8)["loss"] == pytest.approx(
        min(record.validation["loss"] for record in history.epochs), rel=1e-5
    )

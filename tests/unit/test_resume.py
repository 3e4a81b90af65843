"""A training stopped at any step and started again ends with the same bits."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stages.models.batch import Batch
from stages.models.network import Network
from stages.params import TrainParams
from stages.training import checkpoint, distributed, loop
from stages.training.checkpoint import Checkpoints
from stages.training.progress import StepRecord, TrainingHistory
from tests.unit.test_loop import PARAMS, Sums

RESUMABLE = PARAMS.model_copy(update={"epochs": 3, "schedule": "plateau", "plateau_patience": 1})


class Noisy(Network):
    """A network that draws random numbers in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1))

    def losses(self, batch: Batch):
        assert batch.targets is not None
        difference = self.body(batch.values.sum(dim=1)).squeeze(1) - batch.targets
        return {"loss": (difference.square().sum(), float(len(difference)))}


class Killed(BaseException):
    pass


def interruptions(stop_after: int | None, kill_after: int | None) -> dict[str, Any]:
    """Hooks of a loop that is stopped, or killed, after so many steps of this process."""
    taken = 0

    def stop_requested() -> bool:
        nonlocal taken
        taken += 1
        return taken == stop_after

    def on_step_record(record: StepRecord) -> None:
        if record.step + 1 == kill_after:
            raise Killed

    return {"stop_requested": stop_requested, "on_step_record": on_step_record}


def run(
    checkpoints: Checkpoints | None = None,
    params: TrainParams = RESUMABLE,
    stop_after: int | None = None,
    kill_after: int | None = None,
) -> tuple[dict[str, torch.Tensor], TrainingHistory]:
    distributed.configure(seed=params.seed, threads=1)
    network = Noisy()
    hooks = interruptions(stop_after, kill_after)
    fit = loop.fit(network, Sums(36), Sums(12, seed=1), params, checkpoints=checkpoints, **hooks)
    return network.state_dict(), fit


def same(
    one: tuple[dict[str, torch.Tensor], TrainingHistory], other: tuple[dict[str, torch.Tensor], TrainingHistory]
) -> bool:
    timeless = [
        [replace(e, seconds=0.0, sequences_per_second=0.0, data_wait_share=0.0) for e in fit.epochs]
        for _, fit in (one, other)
    ]
    bits = all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    return bits and timeless[0] == timeless[1] and one[1].step_records == other[1].step_records


STEPS = 15  # 36 examples by 8 are 5 steps, three times


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_asked_to_stop_after_any_step(tmp_path: Path, step: int) -> None:
    checkpoints = Checkpoints(tmp_path / "state", seconds=1e9)
    with pytest.raises(loop.Stopped):
        run(checkpoints, stop_after=step)
    assert same(run(Checkpoints(tmp_path / "state", seconds=1e9)), run())


@pytest.mark.parametrize("step", [4, 5, 10, STEPS])
def test_an_epoch_that_was_stopped_at_its_last_step_has_its_learning_rate(tmp_path: Path, step: int) -> None:
    params = RESUMABLE.model_copy(update={"schedule": "cosine"})
    with pytest.raises(loop.Stopped):
        run(Checkpoints(tmp_path / "state", seconds=1e9), params, stop_after=step)
    assert same(run(Checkpoints(tmp_path / "state", seconds=1e9), params), run(params=params))


@pytest.mark.parametrize("step", range(2, STEPS + 1))
def test_killed_at_any_step(tmp_path: Path, step: int) -> None:
    with pytest.raises(Killed):
        run(Checkpoints(tmp_path / "state", seconds=1e9, steps=2), kill_after=step)
    assert (tmp_path / "state").is_dir() == (step > 2)
    assert same(run(Checkpoints(tmp_path / "state", seconds=1e9, steps=2)), run())


@pytest.mark.parametrize(
    "changes",
    [
        {"accumulation_steps": 3},
        {"batch_tokens": 40},
        {"ema_decay": 0.9},
        {"ema_decay": 0.9, "choose": "last"},
        {"precision": "bfloat16"},
        {"clip_value": 0.1},
    ],
)
def test_killed_with_other_settings(tmp_path: Path, changes: dict[str, object]) -> None:
    params = RESUMABLE.model_copy(update=changes)
    with pytest.raises(Killed):
        run(Checkpoints(tmp_path / "state", seconds=1e9, steps=1), params, kill_after=7)
    assert same(run(Checkpoints(tmp_path / "state", seconds=1e9), params), run(params=params))


def test_a_disk_that_refuses_leaves_the_state_before_and_says_so(tmp_path: Path, capsys) -> None:
    checkpoints = Checkpoints(tmp_path, seconds=1e9)
    assert checkpoints.steps() is None
    checkpoints.save({"a": torch.ones(3)}, {"steps": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        checkpoints.save({"a": torch.ones(100_000)}, {"steps": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    tensors, facts = checkpoints.load() or ({}, {})
    assert facts == {"steps": 1}
    assert checkpoints.steps() == 1
    assert tensors["a"].tolist() == [1, 1, 1]
    assert "not saved, the previous one stays" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


def flip_a_bit(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def stopped_with_two_states(folder: Path) -> None:
    with pytest.raises(Killed):
        run(Checkpoints(folder, seconds=1e9, steps=2), kill_after=9)  # after 6 and 8


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of a tensor": lambda path: flip_a_bit(path, -3),
    "a bit of the facts": lambda path: flip_a_bit(path, path.read_bytes().index(b"gradient_norm") + 20),
    "a bit of the header": lambda path: flip_a_bit(path, 9),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 7),
    "empty": lambda path: os.truncate(path, 0),
    "half a file": lambda path: path.write_bytes(b"half a file"),
}


def test_a_state_is_read_once_to_tell_of_it_and_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    read_state = checkpoint._read

    def counted(path: Path):
        read.append(path)
        return read_state(path)

    monkeypatch.setattr(checkpoint, "_read", counted)
    checkpoints = Checkpoints(tmp_path, seconds=1e9)
    for step in (1, 2):
        checkpoints.save({"a": torch.full((3,), float(step))}, {"steps": step})
        assert checkpoints.steps() == step
        tensors, facts = checkpoints.load() or ({}, {})
        assert (tensors["a"].tolist(), facts) == ([step] * 3, {"steps": step})
    assert len(read) == 2
    checkpoints.steps()
    checkpoints.save({"a": torch.zeros(3)}, {"steps": 3})  # what was read before is old
    assert (checkpoints.load() or ({}, {}))[1] == {"steps": 3}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_set_aside_and_the_one_before_ends_with_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    stopped_with_two_states(tmp_path)
    newest = tmp_path / "checkpoint.safetensors"
    DAMAGES[damage](newest)
    content = newest.read_bytes()
    checkpoints = Checkpoints(tmp_path, seconds=1e9)
    assert checkpoints.steps() == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"unroll: checkpoint {newest}: damaged (")
    assert "kept as checkpoint.safetensors.damaged" in line
    assert line.endswith("trying the previous one")
    assert (tmp_path / "checkpoint.safetensors.damaged").read_bytes() == content
    assert same(run(checkpoints), run())
    assert capsys.readouterr().err == ""


def test_where_no_state_is_whole_training_starts_anew_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_with_two_states(tmp_path)
    for path in list(tmp_path.iterdir()):
        flip_a_bit(path, -3)
    checkpoints = Checkpoints(tmp_path, seconds=1e9)
    assert checkpoints.steps() is None
    assert capsys.readouterr().err.splitlines()[-1].endswith("the training starts over")
    assert len(list(tmp_path.glob("*.damaged"))) == 2
    assert same(run(checkpoints), run())
    checkpoints.remove()
    assert not tmp_path.exists()


def test_a_save_that_was_cut_off_between_two_names_leaves_the_state_before(tmp_path: Path) -> None:
    stopped_with_two_states(tmp_path)
    (tmp_path / "checkpoint.safetensors").unlink()
    assert Checkpoints(tmp_path, seconds=1e9).steps() == 6
    assert same(run(Checkpoints(tmp_path, seconds=1e9)), run())


def test_a_state_is_due_by_steps_and_by_time(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, seconds=0.0).due(1)
    by_steps = Checkpoints(tmp_path, seconds=1e9, steps=5)
    assert [step for step in range(1, 12) if by_steps.due(step)] == [5, 10]
    assert not Checkpoints(tmp_path, seconds=1e9).due(1000)

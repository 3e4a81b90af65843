"""States of a training at an address, found there by whatever machine goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch

from stages import paths
from stages.training.checkpoint import Checkpoints


@pytest.fixture(params=["file", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    address = f"file://{tmp_path}/far" if request.param == "file" else "memory://far"
    monkeypatch.setenv("UNROLL_RESUME", address + "/")
    yield address
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()


def machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    """The states of the training `s`, as a machine finds them that has this folder alone."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    return Checkpoints.of(paths.resume_folder() / "s")


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save({"w": torch.full((2,), float(step))}, {"steps": step})


def names(address: str) -> list[str]:
    fs, root = fsspec.url_to_fs(address)
    return sorted(name.rpartition("/")[2] for name in fs.find(root))


def test_another_machine_goes_on_from_the_newest(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = machine(tmp_path / "one", monkeypatch)
    assert first.steps() is None
    save(first, 5)
    second = machine(tmp_path / "two", monkeypatch)
    assert second.steps() == 5
    save(second, 6)
    monkeypatch.chdir(tmp_path / "one")
    loaded = first.load()  # what lies in its own folder is older
    assert loaded is not None
    assert (loaded[0]["w"].tolist(), loaded[1]) == ([6.0, 6.0], {"steps": 6})
    assert names(address) == ["checkpoint.before.safetensors", "checkpoint.safetensors"]
    first.remove()
    assert names(address) == []
    assert machine(tmp_path / "three", monkeypatch).steps() is None


def test_a_damaged_state_is_set_aside_there_and_the_one_before_is_taken(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = machine(tmp_path / "one", monkeypatch)
    for step in (5, 6):
        save(checkpoints, step)
    fs, root = fsspec.url_to_fs(address)
    content = bytearray(fs.cat_file(f"{root}/s/checkpoint.safetensors"))
    content[-1] ^= 1
    fs.pipe_file(f"{root}/s/checkpoint.safetensors", bytes(content))
    assert machine(tmp_path / "two", monkeypatch).steps() == 5
    assert "kept as checkpoint.safetensors.damaged" in capsys.readouterr().err
    assert names(address) == ["checkpoint.before.safetensors", "checkpoint.safetensors.damaged"]
    save(machine(tmp_path / "two", monkeypatch), 7)
    assert machine(tmp_path / "three", monkeypatch).steps() == 7


def test_an_address_that_does_not_answer_begins_no_new_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNROLL_RESUME", "nothing://far")
    checkpoints = machine(tmp_path, monkeypatch)
    with pytest.raises(ConnectionError, match=r"^UNROLL_RESUME: nothing://far/s cannot be read: Protocol not known"):
        checkpoints.load()
    save(checkpoints, 5)  # goes on, and says so
    assert "not saved" in capsys.readouterr().err


def test_a_path_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path))
    assert (paths.resume_folder(), paths.resume_address()) == (tmp_path, None)

"""Weights to start from: which a pin names, where they are read, what of them fits."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save
from torch import nn

from stages import refresh
from stages.data.files import write_json
from stages.models.learned import Identities, Learned
from stages.models.weights import start_from
from stages.params import TrainParams
from stages.registry import garbage, pin_weights
from stages.sources import dvc_cache
from stages.tasks.protocol import Task
from stages.tracking import start_weights
from tests.unit.test_loop import PARAMS


def network(classes: int, width: int = 3) -> Any:
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, classes))


def content(module: nn.Module) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in module.state_dict().items()})


def params(start: str) -> Any:
    return SimpleNamespace(train=PARAMS.model_copy(update={"start_from": start}))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of DVC's, in a checkout whose pins are those of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start_weights, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(start_weights, "read_from_remote", lambda md5: None)
    for task in Task.names():
        write_json(Task(task).paths.weights_pin, {})
    return tmp_path / "cache"


def test_what_fits_is_taken_and_the_layers_that_do_not_are_named() -> None:
    other, own = network(6), network(4)
    before = own[1].weight.clone()
    assert start_from(own, content(other), "other") == ["1"]
    assert torch.equal(own[0].weight, other[0].weight)
    assert torch.equal(own[1].weight, before)
    assert start_from(network(6), content(other), "other") == []


def test_where_nothing_fits_a_line_says_so() -> None:
    with pytest.raises(ValueError, match="^other: no layer fits this network; allowed: "):
        start_from(network(4, width=5), content(network(6)), "other")
    with pytest.raises(ValueError, match="^other holds no weights: "):
        start_from(network(4), b"no weights", "other")


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (torch.ones(3, 2, dtype=torch.int64), "int64; allowed: floating point"),
        (torch.ones(3, 2, dtype=torch.bool), "bool; allowed: floating point"),
        (torch.ones(3, 2, dtype=torch.complex64), "complex64; allowed: floating point"),
        (torch.full((3, 2), np.nan), "NaN or infinity in 6 of 6 numbers of float32; allowed: finite numbers"),
        (torch.full((3, 2), np.inf).half(), "NaN or infinity in 6 of 6 numbers of float16; allowed: finite numbers"),
        (torch.full((3, 2), 1e300, dtype=torch.float64), "NaN or infinity in 6 of 6 numbers of float32; allowed: fin"),
    ],
    ids=str,
)
def test_what_is_no_weight_is_refused_by_its_tensor(tensor: torch.Tensor, found: str) -> None:
    own = network(4)
    before = own[0].weight.clone()
    with pytest.raises(ValueError, match=f"^other: 0.weight: found {found}"):
        start_from(own, save({"0.weight": tensor}), "other")
    assert torch.equal(own[0].weight, before)


def test_weights_of_another_precision_are_taken_and_counters_are_counters() -> None:
    own: Any = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    other: Any = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).to(torch.bfloat16)
    assert start_from(own, content(other), "other") == []
    assert torch.equal(own[0].weight, other[0].weight.float())
    counter = {"0.weight": other[0].weight, "1.num_batches_tracked": torch.tensor(1.0)}
    with pytest.raises(ValueError, match="^other: 1.num_batches_tracked: found float32; allowed: int64$"):
        start_from(own, save(counter), "other")


def test_weights_that_no_training_can_start_from_are_not_pinned(cache: Path, tmp_path: Path) -> None:
    task, path = Task("sketch"), tmp_path / "older.safetensors"
    path.write_bytes(save({"0.weight": torch.ones(2)}))
    pin_weights.pin_weights(task, params(str(path)))
    before = task.paths.weights_pin.read_bytes()
    for tensor, found in (
        (torch.tensor([1.0, np.nan]), "NaN or infinity in 1 of 2 numbers of float32; allowed: finite numbers"),
        (torch.ones(2, dtype=torch.complex64), "complex64; allowed: floating point"),
    ):
        path.write_bytes(save({"0.weight": tensor}))
        with pytest.raises(ValueError, match=rf"^sketch.train.start_from: {path}: 0.weight: found {found}"):
            pin_weights.pin_weights(task, params(str(path)))
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=rf"^sketch.train.start_from: {path} holds no weights"):
        pin_weights.pin_weights(task, params(str(path)))
    assert task.paths.weights_pin.read_bytes() == before


@pytest.mark.parametrize(
    "start", ["", "models:/forecaster@champion", "models:/forecaster/3", "weights/forecast/measured"]
)
def test_allowed_starts(start: str) -> None:
    values = PARAMS.model_dump() | {"start_from": start}
    assert TypeAdapter(TrainParams).validate_python(values).start_from == start


@pytest.mark.parametrize("start", ["models:/forecaster", "models:/forecaster/champion", "models:forecaster/3"])
def test_a_start_that_is_none(start: str) -> None:
    with pytest.raises(ValidationError, match="empty, models:/NAME@ALIAS, models:/NAME/VERSION or a path"):
        TypeAdapter(TrainParams).validate_python(PARAMS.model_dump() | {"start_from": start})


def test_a_path_is_pinned_once_and_read_by_its_hash(cache: Path, tmp_path: Path) -> None:
    task, folder = Task("sketch"), tmp_path / "older"
    folder.mkdir()
    weights = content(network(4))
    (folder / "weights.safetensors").write_bytes(weights)
    Learned.of(Identities(["a"])).save(folder)
    chosen = params(str(folder))
    assert pin_weights.pin_weights(task, chosen) == f"sketch: trainings start from {folder}"
    before = task.paths.weights_pin.read_bytes()
    assert pin_weights.pin_weights(task, chosen).endswith(", as before")
    assert task.paths.weights_pin.read_bytes() == before
    pin = start_weights.pinned(task, chosen)
    assert pin is not None
    read = start_weights.read_pinned(task, pin)
    assert read["weights.safetensors"] == weights
    assert Learned.parse(read["learned.safetensors"]).may_hold(Identities(["a", "b"])).tolist() == [True, False]
    (folder / "weights.safetensors").write_bytes(b"others")
    with pytest.raises(ValueError, match="weights.safetensors has sha256 .*; .*sketch.json pins "):
        start_weights.read_pinned(task, pin)
    assert pin_weights.pin_weights(task, params("")) == "sketch: trainings start from fresh weights"
    assert task.paths.weights_pin.read_bytes() == b"{}\n"


def test_an_alias_is_resolved_when_it_is_pinned_and_never_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, champion, weights = Task("forecast"), {"champion": "3"}, content(network(4))
    monkeypatch.setattr(pin_weights.mlflow_runs, "open_client", lambda: None)
    monkeypatch.setattr(
        pin_weights, "get_version", lambda client, name, version: SimpleNamespace(version=champion[version])
    )
    monkeypatch.setattr(pin_weights, "read_network_files", lambda task, found: {"weights.safetensors": weights})
    chosen = params("models:/forecaster@champion")
    assert pin_weights.pin_weights(task, chosen) == "forecast: trainings start from models:/forecaster/3"
    champion["champion"] = "4"
    pin = start_weights.pinned(task, chosen)
    assert pin is not None
    assert (pin.found, pin_weights.pinned_versions("forecaster")) == ("models:/forecaster/3", {"3"})
    # From DVC's cache, without asking the registry.
    kept(cache, weights, weights)
    assert start_weights.read_pinned(task, pin) == {"weights.safetensors": weights}


def kept(cache: Path, name_of: bytes, content: bytes) -> Path:
    """A file of DVC's cache, or of a remote, under the name of some content."""
    md5 = hashlib.md5(name_of).hexdigest()
    path = cache / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_what_is_damaged_in_a_place_is_passed_over_with_a_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task, files = Task("sketch"), {"weights.safetensors": b"weights", "learned.safetensors": b"learned"}
    pins = {name: start_weights.PinnedFile.of(content) for name, content in files.items()}
    pin = start_weights.Pin(start_from="older", found="older", files=pins)
    kept(cache, b"weights", b"others")
    kept(cache, b"learned", b"learned")
    asked: list[str] = []

    def remote(md5: str) -> bytes:
        asked.append(md5)
        return {file.md5: files[name] for name, file in pins.items()}[md5]

    monkeypatch.setattr(start_weights, "read_from_remote", remote)
    assert start_weights.read_pinned(task, pin) == files
    assert len(asked) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("unroll: train sketch: DVC's cache: weights.safetensors has sha256 ")
    assert said.endswith("; skipped\n")

    def away(md5: str) -> bytes:
        raise ConnectionError("https://user:secret@host/files: refused\nfor a long time")

    monkeypatch.setattr(start_weights, "read_from_remote", away)
    folder = cache.parent / "older"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert start_weights.read_pinned(task, pin) == files
    assert "DVC's remote: https://host/files: refused; skipped" in capsys.readouterr().err
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match="^DVC's cache: .*; DVC's remote: .*; older: no weights.safetensors there"):
        start_weights.read_pinned(task, pin)


def test_weights_are_read_from_dvcs_default_remote_by_their_md5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, remote = tmp_path / "repository", tmp_path / "remote"
    repository.mkdir()
    monkeypatch.chdir(repository)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], check=True)
    md5 = hashlib.md5(b"weights").hexdigest()
    assert dvc_cache.read_from_remote(md5) is None
    (repository / ".dvc" / "config").write_text(
        f"[core]\n    no_scm = true\n    remote = r\n['remote \"r\"']\n    url = {remote}\n"
    )
    assert dvc_cache.read_from_remote(md5) is None
    kept(remote / "files" / "md5", b"weights", b"weights")
    assert dvc_cache.read_from_remote(md5) == b"weights"


def test_params_and_pin_must_agree(cache: Path) -> None:
    task = Task("sketch")
    assert start_weights.pinned(task, params("")) is None
    with pytest.raises(
        ValueError, match=r"start_from is older, and .*sketch.json pins none; run `python -m stages.refresh "
    ):
        start_weights.pinned(task, params("older"))
    task.paths.weights_pin.unlink()
    with pytest.raises(ValueError, match=r"start_from is older, and .*sketch.json pins none; "):
        start_weights.pinned(task, params("older"))
    assert start_weights.pinned(task, params("")) is None
    pinned_file = start_weights.PinnedFile.of(b"")
    pin = start_weights.Pin(start_from="newer", found="newer", files={"weights.safetensors": pinned_file})
    pin.write(task.paths.weights_pin)
    with pytest.raises(ValueError, match="start_from is older, and .* pins weights of newer; "):
        start_weights.pinned(task, params("older"))
    hashes = {"md5": "0" * 32, "sha256": "0" * 64}
    for damaged in (
        {"version": 3},
        {"start_from": "older", "found": "x", "files": {"weights.safetensors": {**hashes, "md5": "../victim"}}},
        {"start_from": "older", "found": "x", "files": {"../weights.safetensors": hashes}},
        {"start_from": "older", "found": 5, "files": {"weights.safetensors": hashes}},
    ):
        write_json(task.paths.weights_pin, damaged)
        with pytest.raises(ValueError, match="bad weights pin: "):
            start_weights.pinned(task, params("older"))


def test_a_version_that_trainings_start_from_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "read_verdict", lambda version: SimpleNamespace(decision=None))
    versions: Any = [SimpleNamespace(version=number, aliases=[], tags={}) for number in ("3", "2", "1")]
    assert [found.version for found in garbage.collectable(versions, 1)] == ["2", "1"]
    assert [found.version for found in garbage.collectable(versions, 1, {"2"})] == ["1"]


def test_who_starts_from_a_network_knows_what_that_one_has_learned() -> None:
    one = Learned.of(Identities(["a", "b"], np.array([[0, 10], [5, 20]])))
    other = Learned.of(Identities(["b", "c"], np.array([[7, 30], [1, 2]])))
    both = one.joined(other)
    asked = Identities(["a", "b", "b", "c", "d"], np.array([[0, 0], [30, 30], [31, 31], [2, 2], [0, 9]]))
    assert both.may_hold(asked).tolist() == [True, True, False, True, False]
    drawings = Learned.of(Identities(["x"])).joined(Learned.of(Identities(["y"])))
    assert drawings.may_hold(Identities(["x", "y", "z"])).tolist() == [True, True, False]


def test_refresh_pins_the_weights_of_one_task(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.params.load", lambda: {"sketch": params("")})
    monkeypatch.setattr("sys.argv", ["refresh", "--weights", "sketch"])
    refresh.main()
    assert capsys.readouterr().out == "sketch: trainings start from fresh weights, as before\n"


def test_a_pin_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "forecast.json").write_text("{")
    with pytest.raises(ValueError, match=r"forecast\.json: bad weights pin"):
        start_weights.read_pin(tmp_path / "forecast.json")

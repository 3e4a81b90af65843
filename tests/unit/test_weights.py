"""What the train stage wrote, damaged: one line that names the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.models.weights import load_network, save_network
from stages.params import Block


class Params(Block):
    width: int


def build(params: Params, data: Mapping[str, Any]) -> Any:
    return torch.nn.Linear(params.width, 2)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    model = Params(width=3)
    save_network(folder, build(model, {}), model, {}, prepared=tmp_path, training={})
    load_network(folder, build, Params)
    return folder


@pytest.mark.parametrize("size", [0, 4, 30, 150])
def test_truncated_weights(weights: Path, size: int) -> None:
    path = weights / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"^{path} is damaged: .*; delete it and run `dvc checkout`$"):
        load_network(weights, build, Params)


def test_a_truncated_description(weights: Path) -> None:
    path = weights / "network.json"
    path.write_text(path.read_text()[:20])
    with pytest.raises(ValueError, match=rf"^{path} is damaged: .*; delete it and run `dvc checkout`$"):
        load_network(weights, build, Params)


def test_weights_of_another_network(weights: Path) -> None:
    path = weights / "network.json"
    path.write_text(path.read_text().replace("3", "5"))
    with pytest.raises(
        ValueError, match=rf"^{weights}/weights.safetensors belongs to a different network: .*size mismatch"
    ):
        load_network(weights, build, Params)

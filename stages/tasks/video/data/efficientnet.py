"""EfficientNet-Lite0 up to its last pooling: a picture as 1,280 numbers.

M. Tan and Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019, without
squeeze-and-excitation and with ReLU6 in place of SiLU, as `efficientnet_lite_builder.py` of tensorflow/tpu has it.

Batch norm does not stand here: with its running statistics, and it has no others in use, it is a scale and a shift of
each channel, which the convolution before it takes over (`pretrained.py`). So a picture never depends on its batch.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from .columns import EMBEDDING_SIZE, FEATURE_SIZE, GPU

# Blocks, kernel, stride of the first block, by how much a block widens its maps within, channels that come out.
ROWS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
_BATCH_SIZE = 16  # frames: of 224 pixels a side their widest maps take 77 MB


class SameConvolution(nn.Conv2d):
    """A convolution to `ceil(side / stride)` places, padded as TensorFlow's SAME does: by as much as that needs, and by
    the one more after the maps where it is odd.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        # Without a stride the padding is the same before and after, whatever the size, and costs no copy.
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)

    def forward(self, maps: Tensor) -> Tensor:
        """`(batch, in_channels, height, width)` to `(batch, out_channels, height, width)`, over the stride."""
        if self.stride[0] > 1:
            height, width = maps.shape[2:]
            maps = functional.pad(maps, [*self._padding(width), *self._padding(height)])
        return super().forward(maps)

    def _padding(self, side: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        return missing // 2, missing - missing // 2


class InvertedBottleneck(nn.Module):
    """Maps are widened, each is convolved alone, and they are narrowed without an activation (Sandler et al.,
    "MobileNetV2", 2018), beside a shortcut where nothing changes its size.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = SameConvolution(in_channels, wide, 1) if expansion > 1 else None
        self.depthwise = SameConvolution(wide, wide, kernel, stride=stride, groups=wide)
        self.project = SameConvolution(wide, out_channels, 1)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, maps: Tensor) -> Tensor:
        """`(batch, in_channels, height, width)` to `(batch, out_channels, height, width)`, over the stride."""
        wide = maps if self.expand is None else functional.relu6(self.expand(maps))
        narrow: Tensor = self.project(functional.relu6(self.depthwise(wide)))
        return maps + narrow if self.shortcut else narrow


class EfficientNetLite0(nn.Module):
    """The network without its last layer, which names ImageNet's classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConvolution(3, _STEM, 3, stride=2)
        blocks, channels = [], _STEM
        for repeats, kernel, first_stride, expansion, out_channels in ROWS:
            for repeat in range(repeats):
                stride = 1 if repeat else first_stride
                blocks.append(InvertedBottleneck(channels, out_channels, kernel, stride=stride, expansion=expansion))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConvolution(channels, EMBEDDING_SIZE, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """`(batch, height, width, 3)` uint8, red, green and blue, to `(batch, 1280)`, each from 0 to 6."""
        return self._embed(self.blocks[-1](self._feature_maps(pictures)))

    def features(self, pictures: Tensor) -> Tensor:
        """The same beside the maps of the last block but one, averaged over 3 x 3 places: `(batch, 1280 + 9 * 192)`."""
        maps = self._feature_maps(pictures)
        places = functional.adaptive_avg_pool2d(maps, 3).flatten(1)
        return torch.cat([self._embed(self.blocks[-1](maps)), places], dim=1)

    def _feature_maps(self, pictures: Tensor) -> Tensor:
        """The maps of the last block but one: `(batch, 192, height / 32, width / 32)`."""
        maps = ((pictures.permute(0, 3, 1, 2).float() - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)
        maps = functional.relu6(self.stem(maps))
        for block in list(self.blocks)[:-1]:
            maps = block(maps)
        return maps

    def _embed(self, maps: Tensor) -> Tensor:
        return functional.relu6(self.head(maps)).mean(dim=(2, 3))


class FrameEncoder:
    """EfficientNet-Lite0 with the weights of a file that the preprocess stage wrote."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._network = EfficientNetLite0()
        self._network.load_state_dict(load_file(path))
        self._network.eval().to(device)
        self._device = device

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Frames `(time, height, width, 3)` uint8 to `(time, 3008)` float16, which hold them to 0.05 %."""
        features = np.empty((len(frames), FEATURE_SIZE), dtype=np.float16)
        with torch.inference_mode():
            for start in range(0, len(frames), _BATCH_SIZE):
                # A copy, since frames may be mirrored or turned views.
                part = torch.from_numpy(frames[start : start + _BATCH_SIZE].copy())
                features[start : start + _BATCH_SIZE] = self._network.features(part.to(self._device)).cpu().numpy()
        return features


@cache
def encoder_of_process(path: Path) -> FrameEncoder:
    """The encoder of a process that works on clip after clip, on one thread: several such processes work side by side,
    and another number would give other bits. Where the process has been lent a GPU, it is there.
    """
    torch.set_num_threads(1)
    if not (os.environ.get(GPU) and torch.cuda.is_available()):
        return FrameEncoder(path)
    torch.backends.cudnn.allow_tf32 = False  # 10 bits of 24: features would differ in their third digit
    return FrameEncoder(path, "cuda")

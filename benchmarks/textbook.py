"""The textbook's classifier of drawings, in Keras as the book has it and trained by our engine.

The network: A. Géron, "Hands-On Machine Learning with Scikit-Learn, Keras, and TensorFlow", chapter 15, the exercise on
SketchRNN: three convolutions with stride 2, two LSTM layers of 128, a softmax; inputs dx, dy and whether the pen leaves
the paper. Keras (`textbook_keras.py`) reads the last 100 points of each drawing, padded to 100; the engine reads whole
drawings in buckets of like lengths. Our network has layer norm and GELU where the book has ReLU and batch norm, because
nothing here may depend on what it is batched with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.batch import Batch
from stages.models.classification import classification_losses
from stages.models.network import Network
from stages.models.recurrent import RecurrentStack, last_step
from stages.params import TaskParams
from stages.tasks.sketch.model.features import Feature, columns
from stages.tasks.sketch.model.network import MaskedConv, SketchDataset

FEATURES: list[Feature] = ["offset", "pen"]
INPUTS = [columns(FEATURES).index(name) for name in ("dx", "dy", "pen_up")]


class TextbookClassifier(Network):
    """Three convolutions over time, two LSTM layers, the state at a drawing's last step, a linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        sizes = ((len(INPUTS), 32, 5), (32, 64, 5), (64, 128, 3))
        self.convolutions = nn.ModuleList([MaskedConv(*size, stride=2) for size in sizes])
        self.recurrent = RecurrentStack(128, 128, layers=2)
        self.classify = nn.Linear(128, classes)
        for layer in self.recurrent.forward_layers:
            assert isinstance(layer, nn.LSTM)
            _start_as_keras(layer)

    def forward(self, batch: Batch) -> Tensor:
        """`batch.values` `(batch, time, 3)` to logits `(batch, classes)`."""
        values, lengths = batch.values, batch.lengths
        for convolution in self.convolutions:
            values, lengths = convolution(values, lengths)
        return self.classify(last_step(self.recurrent(values, lengths), lengths))

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        """`loss` and `accuracy`, see `classification_losses`."""
        assert batch.targets is not None
        return classification_losses(self(batch), batch.targets)


def _start_as_keras(layer: nn.LSTM) -> None:
    """Keras's first weights of an LSTM: it begins by remembering (forget gates' bias 1), PyTorch's by forgetting."""
    nn.init.xavier_uniform_(layer.get_parameter("weight_ih_l0"))
    nn.init.orthogonal_(layer.get_parameter("weight_hh_l0"))
    nn.init.zeros_(layer.get_parameter("bias_hh_l0"))
    with torch.no_grad():
        for gate, bias in enumerate(layer.get_parameter("bias_ih_l0").chunk(4)):
            bias.fill_(1.0 if gate == 1 else 0.0)  # input, forget, cell, output


class TextbookDataset(SketchDataset):
    """Drawings as dx, dy, pen_up, as they are."""

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Values `(batch, time, 3)` float32, targets `(batch,)` class numbers."""
        whole = super().batch(examples)
        return Batch(values=whole.values[:, :, INPUTS], lengths=whole.lengths, targets=whole.targets)


def network_and_data(
    folder: Path, params: TaskParams, measured: str
) -> tuple[Network, TextbookDataset, TextbookDataset]:
    """Fresh weights, the drawings to learn from and those to measure on."""
    train = TextbookDataset(folder, "train", FEATURES, seed=params.train.seed)
    return TextbookClassifier(len(train.classes)), train, TextbookDataset(folder, measured, FEATURES)

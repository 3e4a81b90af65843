"""A decoder that draws: a class vector sets its first state and comes with every input; each step says where the pen
goes next as a mixture density. (The decoder of sketch-rnn, https://arxiv.org/abs/1704.03477, with a class in place of
the latent vector.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....data.store import Split
from ....models.batch import Batch, pad
from ....models.learned import Identities, Learned, ids_of, learned_ids
from ....models.mixture import StrokeMixture
from ....models.network import Network
from ...sketch.model.drawings import Drawings
from ...sketch.params import AugmentationParams
from ..params import ModelParams, Params
from .canvas import DOWN, END, INPUTS, PIXELS, UP, Canvas
from .order import in_order

_LEAST_DEVIATION = 0.5 / PIXELS  # half a pixel: points lie on whole ones

State = tuple[Tensor, Tensor]  # of the LSTM, each (layers, batch, hidden)


def build(params: ModelParams, data: Mapping[str, Any]) -> DrawingDecoder:
    """A network with fresh weights for the classes of `description.json`."""
    return DrawingDecoder(params, len(data["classes"]))


def dataset(folder: Path, split: Split, params: Params, *, augment: bool) -> DrawingDataset:
    """The drawings of a split, or of several."""
    changes = None
    if augment:
        # The others change the order of the strokes, or what a stroke is; a mirror turns every stroke round.
        unused = ("mirror", "break_off", "drop_strokes", "reverse_strokes", "shuffle_strokes")
        chosen = params.model.augmentation.model_dump()
        changes = AugmentationParams(**chosen, **dict.fromkeys(unused, 0.0), never_mirrored=[])
    return DrawingDataset(folder, split, params, changes)


def learned(folder: Path, split: Split) -> Learned:
    """The drawings that a network is trained and chosen by."""
    return learned_ids(folder, split)


def identities(folder: Path, rows: np.ndarray) -> Identities:
    """Some rows of the store, by their ids."""
    return ids_of(folder, rows)


class DrawingDecoder(Network):
    """LSTM layers → the mixture of each next step. A step is the offset from the point before and the pen's state after
    it; the first point has no offset.

    The network reads what `Canvas` says of the drawing before each step and, with it, the class's vector.
    """

    def __init__(self, params: ModelParams, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, params.class_embedding)
        self.first_state = nn.Linear(params.class_embedding, 2 * params.layers * params.hidden_size)
        self.layers = nn.LSTM(
            INPUTS + params.class_embedding,
            params.hidden_size,
            num_layers=params.layers,
            batch_first=True,
            dropout=params.dropout if params.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(params.dropout)
        self.output = nn.Linear(params.hidden_size, StrokeMixture.size(params.mixtures))

    def start(self, classes: Tensor) -> tuple[Tensor, State]:
        """The vectors `(batch, class_embedding)` of class numbers `(batch,)`, and the LSTM's first state."""
        vectors = self.embedding(classes)
        flat = torch.tanh(self.first_state(vectors)).view(len(classes), 2, self.layers.num_layers, -1)
        hidden, cell = flat.permute(1, 2, 0, 3).contiguous().unbind(dim=0)
        return vectors, (hidden, cell)

    def step(self, inputs: Tensor, vectors: Tensor, state: State) -> tuple[StrokeMixture, State]:
        """Mixtures of `(batch, time)` next steps, from `Canvas.inputs`, the class vectors and the state before them."""
        vectors = vectors[:, None].expand(-1, inputs.shape[1], -1)
        outputs, state = self.layers(torch.cat([inputs, vectors], dim=-1), state)
        mixture = StrokeMixture.of(self.output(self.dropout(outputs)), least_deviation=_LEAST_DEVIATION)
        return mixture, state

    def forward(self, batch: Batch) -> StrokeMixture:
        """The mixture of each step, `(batch, time)`, given the true ones before it."""
        assert batch.targets is not None
        canvas = Canvas.before_each(batch.values[..., :2], batch.values[..., 2].long())
        return self.step(canvas.inputs(), *self.start(batch.targets))[0]

    def surprise(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The negative log-likelihood of each drawing's offsets and of its pen states, `(batch,)` each, in nats.

        Densities are those of offsets in pixels.
        """
        mixture, mask = self(batch), batch.mask
        offset = 2 * math.log(PIXELS) - mixture.log_density(batch.values[..., :2])
        moved = mask & (torch.arange(mask.shape[1], device=mask.device) > 0)
        pen = mixture.pen_loss(batch.values[..., 2].long())
        return torch.where(moved, offset, 0.0).sum(dim=1), torch.where(mask, pen, 0.0).sum(dim=1)

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """`loss`, the negative log-likelihood a step in nats, and `pen_loss`, what of it is the pen's."""
        offset, pen = self.surprise(batch)
        steps = batch.lengths.sum()
        return {"loss": ((offset + pen).sum(), steps), "pen_loss": (pen.sum(), steps)}


class DrawingDataset(Drawings):
    """The drawings of a split as offsets and pen states; changed by an augmentation they are never mirrored."""

    def __init__(self, folder: Path, split: Split, params: Params, augmentation: AugmentationParams | None) -> None:
        super().__init__(folder, split, augmentation, seed=params.train.seed)
        self._sorted = params.model.stroke_order == "sorted"

    def moves(self, examples: np.ndarray, *, epoch: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What the network learns of some drawings, one after the other, as the function `moves` has it, and how many
        steps each has.
        """
        steps, lengths = self.steps(examples, epoch=epoch)
        return moves(in_order(steps, lengths) if self._sorted else steps, lengths), lengths

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """Values `(batch, time, 3)` float32, offset in PIXELS and pen state; targets `(batch,)` class numbers."""
        steps, lengths = self.moves(examples, epoch=epoch)
        values, counts = pad(np.split(steps, np.cumsum(lengths)[:-1]))
        return Batch(values=values, lengths=counts, targets=torch.from_numpy(self.targets[examples]))


def moves(steps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`(steps, 3)` x, y (pixels), pen_up of all drawings, one after the other, as `(steps, 3)` float32: the offset from
    the point before in PIXELS, (0, 0) at a drawing's first, and the pen's state after the point.
    """
    ends = np.cumsum(lengths) - 1
    values = np.zeros(steps.shape, dtype=np.float32)
    values[1:, :2] = np.diff(steps[:, :2].astype(np.float32), axis=0) / PIXELS
    values[ends + 1 - lengths, :2] = 0.0
    values[:, 2] = np.where(steps[:, 2] > 0, UP, DOWN)
    values[ends, 2] = END
    return values

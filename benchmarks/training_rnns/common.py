"""What the measurements share: data, a small network, figures, tables."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from stages.models.batch import Batch, Dataset
from stages.models.classification import classification_losses
from stages.models.network import Network
from stages.models.recurrent import Cell, RecurrentStack, last_step
from stages.params import load
from stages.tasks.protocol import Task
from stages.tasks.sketch.model.network import SketchDataset
from stages.tasks.sketch.params import Params as SketchParams
from stages.training.debug_modes import Subset

from .. import command
from ..command import Rows

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
COLORS = ("#0b6bcb", "#d9480f", "#2b8a3e", "#862e9c")


class Reader(Network):
    """The plainest classifier of drawings: a recurrent layer of 64 over the points, its last output gives the class."""

    def __init__(self, cell: Cell, drawings: SketchDataset) -> None:
        super().__init__()
        features = drawings.batch(np.arange(1)).values.shape[2]
        self.recurrent = RecurrentStack(features, 64, cell=cell)
        self.output = nn.Linear(64, len(drawings.classes))

    def forward(self, batch: Batch) -> Tensor:
        """`batch.values` `(batch, time, features)` to logits `(batch, classes)`."""
        return self.output(last_step(self.recurrent(batch.values, batch.lengths), batch.lengths))

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        """`loss` and `accuracy`, see `classification_losses`."""
        assert batch.targets is not None
        return classification_losses(self(batch), batch.targets)


def some(dataset: Dataset, count: int) -> Subset:
    """The first so many examples of a data set in a random order that is always the same."""
    return Subset(dataset, np.random.default_rng(1).permutation(len(dataset))[:count], augment=True)


def prepared(task: str) -> Path:
    """The task's prepared sample. Raises FileNotFoundError with the commands that make it."""
    folder = Task(task).paths.prepared
    if not folder.exists():
        raise FileNotFoundError(
            f"{folder} is not there; run: python -m stages.download {task} && python -m stages.preprocess {task}"
        )
    return folder


def sketches() -> tuple[SketchParams, SketchDataset, SketchDataset]:
    """The params of `sketch`, and its drawings to train on and to validate with, as they are."""
    params = load()["sketch"]
    assert isinstance(params, SketchParams)
    model = Task("sketch").model()
    train, validation = (
        model.dataset(prepared("sketch"), split, params, augment=False) for split in ("train", "validation")
    )
    assert isinstance(train, SketchDataset)
    assert isinstance(validation, SketchDataset)
    return params, train, validation


@contextmanager
def figure(name: str, titles: Sequence[str], *, height: float = 3.2, xlabel: str = "") -> Iterator[Sequence[Axes]]:
    """Axes for each title in a row 8 inches wide; after the block they are docs/figures/NAME.png, with a legend where
    lines have labels. 64 colours are a third of the bytes, and lines look the same.
    """
    drawn = Figure(figsize=(8, height), layout="constrained")
    axes: list[Axes] = list(drawn.subplots(1, len(titles), squeeze=False)[0])
    for one, title in zip(axes, titles, strict=True):
        one.set_title(title, fontsize=10)
        one.set_xlabel(xlabel)
        one.grid(alpha=0.3)
    yield axes
    for one in axes:
        if one.get_legend_handles_labels()[1]:
            one.legend(fontsize=8)
    FIGURES.mkdir(parents=True, exist_ok=True)
    png = io.BytesIO()
    drawn.savefig(png, dpi=130)
    picture = Image.open(png).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    picture.save(FIGURES / f"{name}.png", optimize=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Rows:
    """Print rows as Markdown, and return them."""
    found = [dict(zip(head, row, strict=True)) for row in rows]
    print(command.table(found), flush=True)
    return found


def each(values: Iterable[float], digits: int = 2) -> str:
    """What every seed came to."""
    return " · ".join(f"{value:.{digits}f}" for value in values)

"""Inputs that are not scaled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from matplotlib.axes import Axes

from stages.models.batch import Batch, Dataset
from stages.params import load
from stages.tasks.forecast.model.network import build
from stages.tasks.forecast.model.windows import ORIGINS, Windows
from stages.tasks.forecast.params import Params as ForecastParams
from stages.tasks.sketch.model.network import SketchDataset, padded
from stages.training.inference import predict
from stages.training.loop import fit
from stages.training.progress import Epoch

from .common import COLORS, Reader, axes_in_a_row, heading, prepared, row, save, sketches, some, table

SEEDS = (1, 2, 3)
EPOCHS = 8


class InUnit:
    """Windows without a scale of their own, in another unit: `°C · factor`."""

    def __init__(self, windows: Windows, factor: float) -> None:
        self._windows = windows
        self._factor = factor
        self.lengths = windows.lengths

    def __len__(self) -> int:
        return len(self._windows)

    def name(self, example: int) -> str:
        return self._windows.name(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = self._windows.batch(examples, epoch=epoch)
        assert batch.targets is not None
        values = torch.cat([batch.values[..., :1] * self._factor, batch.values[..., 1:]], dim=-1)
        return replace(batch, values=values, targets=batch.targets * self._factor)


class InPixels:
    """Drawings as offsets and positions in pixels, 0 to 255, where the network's features are of about size 1."""

    def __init__(self, dataset: SketchDataset) -> None:
        self._dataset = dataset
        self.lengths = dataset.lengths

    def __len__(self) -> int:
        return len(self._dataset)

    def name(self, example: int) -> str:
        return self._dataset.name(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        steps, lengths = self._dataset.steps(examples)
        position = steps[:, :2].astype(np.float32)
        offset = np.diff(position, axis=0, prepend=position[:1])
        offset[np.cumsum(lengths)[:-1]] = 0.0
        pens = self._dataset.batch(examples)
        values = padded(np.concatenate([offset, position], axis=1), lengths).values
        return replace(pens, values=torch.cat([values, pens.values[:, :, 4:]], dim=-1))


def scaling() -> None:
    """The forecaster in three units, and an LSTM that reads drawings in pixels."""
    figure, axes = axes_in_a_row(["forecast: error on the validation days, °C", "sketch: validation accuracy"])
    _forecast(axes[0])
    _sketch(axes[1])
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.legend(fontsize=8)
    save(figure, "scaling")


def _forecast(axis: Axes) -> None:
    heading("forecast's values", "error in °C", "each seed")
    cases: list[tuple[str, str, float]] = [
        ("each window's own scale", "window", 1.0),
        ("°C, about 16 ± 8", "none", 1.0),
        ("°C · 1000", "none", 1000.0),
    ]
    for (name, scaling, factor), color in zip(cases, COLORS, strict=False):
        curves = [_degrees(scaling, factor, seed) for seed in SEEDS]
        axis.semilogy(range(1, len(curves[0]) + 1), np.mean(curves, axis=0), color=color, label=name)
        best = [min(curve) for curve in curves]
        row(name, f"{np.mean(best):.2f}", " · ".join(f"{b:.2f}" for b in best))
    axis.set_yticks([3, 4, 6, 10], ["3", "4", "6", "10"])
    axis.set_yticks([], minor=True)
    print(flush=True)


def _degrees(scaling: str, factor: float, seed: int) -> list[float]:
    """Train the forecaster; the median's mean absolute error over the validation windows after each epoch, in °C."""
    params = load()["forecast"]
    assert isinstance(params, ForecastParams)
    what = params.model.model_copy(update={"scaling": scaling})
    train, validation = (Windows(prepared("forecast"), what, ORIGINS[split]) for split in ("train", "validation"))
    actual = np.stack([validation.future(example)[0] for example in range(len(validation))])
    unseen, middle, errors = InUnit(validation, factor), 1 + what.quantiles.index(0.5), []
    torch.manual_seed(seed)
    network = build(what, {})

    def measured(epoch: Epoch) -> None:
        answers = predict(network, unseen, 512, network.forecast)[..., middle] / factor
        errors.append(float(np.abs(answers - actual).mean()))

    how = params.train.model_copy(update={"seed": seed})
    fit(network, InUnit(train, factor), unseen, how, on_epoch=measured)
    return errors


def _sketch(axis: Axes) -> None:
    params, train, validation = sketches()
    how = params.train.model_copy(
        update={"epochs": EPOCHS, "patience": EPOCHS, "learning_rate": 0.005, "monitor": "accuracy"}
    )
    rows: list[tuple[object, ...]] = [("sketch's points", "accuracy", "each seed")]
    cases: list[tuple[str, Dataset, Dataset]] = [
        ("about 1", train, validation),
        ("pixels, 0 to 255", InPixels(train), InPixels(validation)),
    ]
    for (name, learned, measured), color in zip(cases, COLORS, strict=False):
        curves = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            network = Reader("lstm", train.batch(np.arange(1)).values.shape[2], 64, len(train.classes))
            found = fit(network, some(learned, 2000), measured, how.model_copy(update={"seed": seed}))
            curves.append([epoch.validation["accuracy"] for epoch in found.epochs])
        axis.plot(range(1, EPOCHS + 1), np.mean(curves, axis=0), color=color, label=name)
        best = [max(curve) for curve in curves]
        rows.append((name, f"{np.mean(best):.3f}", " · ".join(f"{b:.3f}" for b in best)))
    table(*rows)

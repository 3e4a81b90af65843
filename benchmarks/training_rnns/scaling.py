"""Inputs that are not scaled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from stages.batching import Batch, Dataset
from stages.engine import fit
from stages.params import load
from stages.tasks import Task
from stages.tasks.forecast.params import Params as ForecastParams
from stages.tasks.sketch.model.network import SketchDataset, padded

from .common import COLORS, Reader, Some, axes_in_a_row, prepared, save, sketches, table

SEEDS = (1, 2, 3)
EPOCHS = 8


class InUnit:
    """Windows in a fixed unit in place of their own mean and standard deviation: `(°C) · factor`."""

    def __init__(self, dataset: Dataset, factor: float) -> None:
        self._dataset = dataset
        self._factor = factor
        self.lengths = dataset.lengths

    def __len__(self) -> int:
        return len(self._dataset)

    def name(self, example: int) -> str:
        return self._dataset.name(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = self._dataset.batch(examples, epoch=epoch)
        assert batch.targets is not None
        location, scale = batch.context["location"], batch.context["scale"]
        real = batch.mask[:, :, None].float()
        values = batch.values.clone()
        values[..., :1] = ((values[..., :1] * scale[:, :, None] + location[:, :, None]) * self._factor * real).float()
        targets = ((batch.targets * scale + location) * self._factor).float()
        return replace(batch, values=values, targets=targets)


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


def _forecast(axis) -> None:
    params = load()["forecast"]
    assert isinstance(params, ForecastParams)
    model = Task("forecast").model()
    folder = prepared("forecast")
    train, validation = (model.dataset(folder, split, params, augment=False) for split in ("train", "validation"))
    weights = validation.batch(np.arange(len(validation)))
    mean_scale = float(weights.context["scale"].mean())
    rows: list[tuple[object, ...]] = [("forecast's values", "error in °C", "each seed")]
    cases = [("each window's own scale", None), ("°C, about 16 ± 8", 1.0), ("°C · 1000", 1000.0)]
    for (name, factor), color in zip(cases, COLORS, strict=False):
        curves = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            how = params.train.model_copy(update={"seed": seed, "monitor": "absolute_error"})
            sides = [train, validation] if factor is None else [InUnit(train, factor), InUnit(validation, factor)]
            found = fit(model.build(params.model, {}), sides[0], sides[1], how)
            unit = mean_scale if factor is None else 1 / factor
            curves.append([epoch.validation["absolute_error"] * unit for epoch in found.epochs])
        axis.semilogy(range(1, len(curves[0]) + 1), np.mean(curves, axis=0), color=color, label=name)
        best = [min(curve) for curve in curves]
        rows.append((name, f"{np.mean(best):.2f}", " · ".join(f"{b:.2f}" for b in best)))
    table(*rows)


def _sketch(axis) -> None:
    params, train, validation = sketches()
    how = params.train.model_copy(
        update={"epochs": EPOCHS, "patience": EPOCHS, "learning_rate": 0.005, "monitor": "accuracy"}
    )
    rows: list[tuple[object, ...]] = [("sketch's points", "accuracy", "each seed")]
    cases = [("about 1", train, validation), ("pixels, 0 to 255", InPixels(train), InPixels(validation))]
    for (name, learned, measured), color in zip(cases, COLORS, strict=False):
        curves = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            network = Reader("lstm", 64, len(train.classes))
            found = fit(network, Some(learned, 2000), measured, how.model_copy(update={"seed": seed}))
            curves.append([epoch.validation["accuracy"] for epoch in found.epochs])
        axis.plot(range(1, EPOCHS + 1), np.mean(curves, axis=0), color=color, label=name)
        best = [max(curve) for curve in curves]
        rows.append((name, f"{np.mean(best):.3f}", " · ".join(f"{b:.3f}" for b in best)))
    table(*rows)

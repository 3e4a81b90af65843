"""One setting at a time on few drawings, and inputs that are not scaled: what do they change?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes

from stages.models.batch import Batch
from stages.params import load
from stages.tasks.forecast.model import network as forecaster
from stages.tasks.forecast.model.windows import ORIGINS, Windows
from stages.tasks.forecast.params import Params as ForecastParams
from stages.tasks.sketch.model.network import SketchDataset, build, padded
from stages.tasks.sketch.params import Params as SketchParams
from stages.training.inference import predict
from stages.training.loop import Epoch, fit

from ..command import Rows
from ..data import Overlay, overlaid
from .common import COLORS, Reader, each, figure, prepared, sketches, some, table

SEEDS = (1, 2, 3, 4)
# What differs from params.yaml.
PLAIN: Overlay = {
    "model": {
        "conv_channels": [32, 64],
        "conv_strides": [2, 2],
        "hidden_size": 48,
        "layers": 2,
        "dropout": 0.0,
        "label_smoothing": 0.0,
    },
    "train": {
        "epochs": 16,
        "patience": 16,
        "batch_size": 32,
        "learning_rate": 0.002,
        "weight_decay": 0.0,
        "warmup_fraction": 0.0,
        "schedule": "constant",
        "plateau_factor": 0.3,
        "monitor": "loss",
    },
}
_COSINE = {"warmup_fraction": 0.1, "schedule": "cosine"}
CHANGES: dict[str, Overlay] = {
    "plain": {},
    "dropout 0.3": {"model": {"dropout": 0.3}},
    "recurrent_dropout 0.3": {"model": {"recurrent_dropout": 0.3}},
    "layer_norm": {"model": {"layer_norm": True}},
    "weight_decay 0.1": {"train": {"weight_decay": 0.1}},
    "warmup_fraction 0.1, cosine": {"train": _COSINE},
    "learning_rate 0.008": {"train": {"learning_rate": 0.008}},
    "learning_rate 0.008, warmup_fraction, cosine": {"train": {"learning_rate": 0.008, **_COSINE}},
    "plateau": {"train": {"schedule": "plateau"}},
    "patience 3 (early stopping)": {"train": {"patience": 3}},
    "accumulation_steps 4": {"train": {"accumulation_steps": 4}},
    "bfloat16": {"train": {"precision": "bfloat16"}},
    "dropout 0.3, warmup_fraction, cosine": {"model": {"dropout": 0.3}, "train": _COSINE},
}


def settings() -> Rows:
    """A small sketch network on 800 drawings, with one thing changed at a time."""
    params, train, validation = sketches()
    few, unseen = some(train, 800), some(validation, 400)

    def rows() -> Iterator[tuple[object, ...]]:
        for place, (name, change) in enumerate(CHANGES.items()):
            fits = []
            for seed in SEEDS:
                own = overlaid(overlaid(overlaid(params, PLAIN), change), {"train": {"seed": seed}})
                torch.manual_seed(seed)
                network = build(own.model, {"classes": train.classes})
                fits.append(fit(network, few, unseen, own.train))
            best = [found.epochs[found.best_epoch].validation for found in fits]
            losses, accuracies = ([one[metric] for one in best] for metric in ("loss", "accuracy"))
            axis.plot(losses, [place] * len(losses), "o", color=COLORS[0], alpha=0.6)
            axis.plot(np.mean(losses), place, "|", color=COLORS[1], markersize=16, markeredgewidth=2)
            if name == "plain":
                axis.axvline(float(np.mean(losses)), color="gray", linewidth=1, linestyle=":")
            loss = f"{np.mean(losses):.2f} ({min(losses):.2f} to {max(losses):.2f})"
            last = f"{np.mean([found.epochs[-1].validation['loss'] for found in fits]):.2f}"
            epochs = f"{np.mean([len(found.epochs) for found in fits]):.0f}"
            yield name, loss, f"{np.mean(accuracies):.3f}", last, epochs

    title = f"validation loss of the best epoch, {len(SEEDS)} seeds"
    with figure("settings", [title], height=3.4) as (axis,):
        found = table(("setting", "validation loss", "accuracy", "loss of the last epoch", "epochs run"), rows())
        axis.set_yticks(range(len(CHANGES)), list(CHANGES), fontsize=8)
        axis.invert_yaxis()
    return found


class InUnit(Windows):
    """Windows without a scale of their own, in another unit: `°C · factor`."""

    factor: float = 1.0

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = super().batch(examples, epoch=epoch)
        assert batch.targets is not None
        values = torch.cat([batch.values[..., :1] * self.factor, batch.values[..., 1:]], dim=-1)
        return replace(batch, values=values, targets=batch.targets * self.factor)


class InPixels(SketchDataset):
    """Drawings as offsets and positions in pixels, 0 to 255, where the network's features are of about size 1."""

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        steps, lengths = self.steps(examples)
        position = steps[:, :2].astype(np.float32)
        offset = np.diff(position, axis=0, prepend=position[:1])
        offset[np.cumsum(lengths)[:-1]] = 0.0
        pens = super().batch(examples)
        values = padded(np.concatenate([offset, position], axis=1), lengths).values
        return replace(pens, values=torch.cat([values, pens.values[:, :, 4:]], dim=-1))


def scaling() -> Rows:
    """The forecaster in three units, and an LSTM that reads drawings in pixels."""
    params, train, validation = sketches()
    pixels, unseen_pixels = (
        InPixels(prepared("sketch"), split, params.model.features) for split in ("train", "validation")
    )
    degrees = {
        "each window's own scale": partial(_degrees, "window", 1.0),
        "°C, about 16 ± 8": partial(_degrees, "none", 1.0),
        "°C · 1000": partial(_degrees, "none", 1000.0),
    }
    points = {
        "about 1": partial(_accuracies, params, train, validation),
        "pixels, 0 to 255": partial(_accuracies, params, pixels, unseen_pixels),
    }
    titles = ["forecast: error on the validation days, °C", "sketch: validation accuracy"]
    with figure("scaling", titles, xlabel="epoch") as axes:
        found = _cases(axes[0], ("forecast's values", "error in °C", "each seed"), degrees, min, 2)
        found += _cases(axes[1], ("sketch's points", "accuracy", "each seed"), points, max, 3)
        axes[0].set_yscale("log")
        axes[0].set_yticks([3, 4, 6, 10], ["3", "4", "6", "10"])
        axes[0].set_yticks([], minor=True)
    return found


def _cases(
    axis: Axes,
    head: Sequence[str],
    cases: Mapping[str, Callable[[int], list[float]]],
    choose: Callable[[list[float]], float],
    digits: int,
) -> Rows:
    """Draw the mean curve of each case's seeds; the best epochs are the rows of a table."""
    rows = []
    for (name, train), color in zip(cases.items(), COLORS, strict=False):
        curves = [train(seed) for seed in SEEDS[:3]]
        axis.plot(range(1, len(curves[0]) + 1), np.mean(curves, axis=0), color=color, label=name)
        best = [choose(curve) for curve in curves]
        rows.append((name, f"{np.mean(best):.{digits}f}", each(best, digits)))
    return table(head, rows)


def _degrees(scaling: str, factor: float, seed: int) -> list[float]:
    """Train the forecaster; the median's mean absolute error over the validation windows after each epoch, in °C."""
    params = load()["forecast"]
    assert isinstance(params, ForecastParams)
    params = overlaid(params, {"model": {"scaling": scaling}, "train": {"seed": seed}})
    train, validation = (InUnit(prepared("forecast"), params.model, ORIGINS[s]) for s in ("train", "validation"))
    train.factor = validation.factor = factor
    actual = np.stack([validation.future(example)[0] for example in range(len(validation))])
    median, errors = 1 + params.model.quantiles.index(0.5), []
    torch.manual_seed(seed)
    network = forecaster.build(params.model, {})

    def measured(epoch: Epoch) -> None:
        answers = predict(network, validation, 512, network.forecast)[..., median] / factor
        errors.append(float(np.abs(answers - actual).mean()))

    fit(network, train, validation, params.train, on_epoch=measured)
    return errors


def _accuracies(params: SketchParams, train: SketchDataset, validation: SketchDataset, seed: int) -> list[float]:
    """Train an LSTM on 2,000 drawings; the validation accuracy after each epoch."""
    changes = {"epochs": 8, "patience": 8, "learning_rate": 0.005, "monitor": "accuracy", "seed": seed}
    torch.manual_seed(seed)
    network = Reader("lstm", train)
    found = fit(network, some(train, 2000), validation, overlaid(params, {"train": changes}).train)
    return [epoch.validation["accuracy"] for epoch in found.epochs]

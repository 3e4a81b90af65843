"""One setting at a time on few drawings: what does it change?"""

from __future__ import annotations

import time

import numpy as np
import torch

from stages.engine import Fit, fit
from stages.tasks.sketch.model.network import build

from .common import COLORS, Some, axes_in_a_row, save, sketches, table

SEEDS = (1, 2, 3, 4)
PLAIN_MODEL: dict[str, object] = {
    "conv_channels": [24, 48, 64],
    "hidden_size": 48,
    "layers": 2,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "layer_norm": False,
    "label_smoothing": 0.0,
}
PLAIN_TRAIN: dict[str, object] = {
    "epochs": 14,
    "patience": 14,
    "batch_size": 32,
    "accumulate": 1,
    "learning_rate": 0.004,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "schedule": "constant",
    "plateau_patience": 2,
    "plateau_factor": 0.3,
    "clip_norm": 1.0,
    "clip_value": 0.0,
    "precision": "float32",
    "monitor": "loss",
}
CHANGES: list[tuple[str, dict[str, object]]] = [
    ("plain", {}),
    ("dropout 0.3", {"dropout": 0.3}),
    ("recurrent_dropout 0.3", {"recurrent_dropout": 0.3}),
    ("layer_norm", {"layer_norm": True}),
    ("weight_decay 0.1", {"weight_decay": 0.1}),
    ("warmup 0.1, cosine", {"warmup": 0.1, "schedule": "cosine"}),
    ("plateau", {"schedule": "plateau"}),
    ("patience 3 (early stopping)", {"patience": 3}),
    ("accumulate 4", {"accumulate": 4}),
    ("bfloat16", {"precision": "bfloat16"}),
    ("dropout 0.3, warmup, cosine", {"dropout": 0.3, "warmup": 0.1, "schedule": "cosine"}),
]


def settings() -> None:
    """A small sketch network on 800 drawings, with one thing changed at a time."""
    params, train, validation = sketches()
    few = Some(train, 800)
    results: dict[str, list[tuple[Fit, float]]] = {}
    for name, change in CHANGES:
        model = params.model.model_copy(update={key: change.get(key, value) for key, value in PLAIN_MODEL.items()})
        results[name] = []
        for seed in SEEDS:
            how = params.train.model_copy(
                update={key: change.get(key, value) for key, value in PLAIN_TRAIN.items()} | {"seed": seed}
            )
            torch.manual_seed(seed)
            network = build(model, {"classes": train.classes})
            started = time.perf_counter()
            results[name].append((fit(network, few, validation, how), time.perf_counter() - started))
    rows: list[tuple[object, ...]] = [
        ("setting", "validation loss", "accuracy", "last epoch's loss", "epochs run", "seconds")
    ]
    losses = {name: [_best(found)["loss"] for found, _ in runs] for name, runs in results.items()}
    for name, runs in results.items():
        accuracies = [_best(found)["accuracy"] for found, _ in runs]
        last = [found.epochs[-1].validation["loss"] for found, _ in runs]
        rows.append(
            (
                name,
                f"{np.mean(losses[name]):.3f} ± {np.std(losses[name], ddof=1):.3f}",
                f"{np.mean(accuracies):.3f}",
                f"{np.mean(last):.3f}",
                f"{np.mean([len(found.epochs) for found, _ in runs]):.1f}",
                f"{np.mean([seconds for _, seconds in runs]):.1f}",
            )
        )
    figure, (axis,) = axes_in_a_row([f"validation loss of the best epoch, {len(SEEDS)} seeds"], height=3.4)
    for place, found_losses in enumerate(losses.values()):
        axis.plot(found_losses, [place] * len(found_losses), "o", color=COLORS[0], alpha=0.6)
        axis.plot(np.mean(found_losses), place, "|", color=COLORS[1], markersize=16, markeredgewidth=2)
    axis.axvline(float(np.mean(losses["plain"])), color="gray", linewidth=1, linestyle=":")
    axis.set_yticks(range(len(losses)), list(losses), fontsize=8)
    axis.invert_yaxis()
    save(figure, "settings")
    table(*rows)


def _best(found: Fit) -> dict[str, float]:
    return dict(found.epochs[found.best_epoch].validation)

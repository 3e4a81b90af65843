"""One setting at a time on few drawings: what does it change?"""

from __future__ import annotations

import numpy as np
import torch

from stages.tasks.sketch.model.network import build
from stages.training.loop import fit

from .common import COLORS, axes_in_a_row, heading, row, save, sketches, some

SEEDS = (1, 2, 3, 4)
PLAIN_MODEL: dict[str, object] = {
    "conv_channels": [32, 64],
    "conv_strides": [2, 2],
    "hidden_size": 48,
    "layers": 2,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "layer_norm": False,
    "label_smoothing": 0.0,
}
PLAIN_TRAIN: dict[str, object] = {
    "epochs": 16,
    "patience": 16,
    "batch_size": 32,
    "batch_tokens": 0,
    "accumulation_steps": 1,
    "learning_rate": 0.002,
    "weight_decay": 0.0,
    "warmup_fraction": 0.0,
    "schedule": "constant",
    "plateau_patience": 2,
    "plateau_factor": 0.3,
    "max_grad_norm": 1.0,
    "clip_value": 0.0,
    "ema_decay": 0.0,
    "precision": "float32",
    "monitor": "loss",
}
CHANGES: list[tuple[str, dict[str, object]]] = [
    ("plain", {}),
    ("dropout 0.3", {"dropout": 0.3}),
    ("recurrent_dropout 0.3", {"recurrent_dropout": 0.3}),
    ("layer_norm", {"layer_norm": True}),
    ("weight_decay 0.1", {"weight_decay": 0.1}),
    ("warmup_fraction 0.1, cosine", {"warmup_fraction": 0.1, "schedule": "cosine"}),
    ("learning_rate 0.008", {"learning_rate": 0.008}),
    (
        "learning_rate 0.008, warmup_fraction, cosine",
        {"learning_rate": 0.008, "warmup_fraction": 0.1, "schedule": "cosine"},
    ),
    ("plateau", {"schedule": "plateau"}),
    ("patience 3 (early stopping)", {"patience": 3}),
    ("accumulation_steps 4", {"accumulation_steps": 4}),
    ("bfloat16", {"precision": "bfloat16"}),
    ("dropout 0.3, warmup_fraction, cosine", {"dropout": 0.3, "warmup_fraction": 0.1, "schedule": "cosine"}),
]


def settings() -> None:
    """A small sketch network on 800 drawings, with one thing changed at a time."""
    params, train, validation = sketches()
    few, unseen = some(train, 800), some(validation, 400)
    losses: dict[str, list[float]] = {}
    heading("setting", "validation loss", "accuracy", "loss of the last epoch", "epochs run")
    for name, change in CHANGES:
        model = params.model.model_copy(update={key: change.get(key, value) for key, value in PLAIN_MODEL.items()})
        fits = []
        for seed in SEEDS:
            how = {key: change.get(key, value) for key, value in PLAIN_TRAIN.items()} | {"seed": seed}
            torch.manual_seed(seed)
            network = build(model, {"classes": train.classes})
            fits.append(fit(network, few, unseen, params.train.model_copy(update=how)))
        best = [found.epochs[found.best_epoch].validation for found in fits]
        losses[name] = [values["loss"] for values in best]
        row(
            name,
            f"{np.mean(losses[name]):.2f} ({min(losses[name]):.2f} to {max(losses[name]):.2f})",
            f"{np.mean([values['accuracy'] for values in best]):.3f}",
            f"{np.mean([found.epochs[-1].validation['loss'] for found in fits]):.2f}",
            f"{np.mean([len(found.epochs) for found in fits]):.0f}",
        )
    print()
    figure, (axis,) = axes_in_a_row([f"validation loss of the best epoch, {len(SEEDS)} seeds"], height=3.4)
    for place, found_losses in enumerate(losses.values()):
        axis.plot(found_losses, [place] * len(found_losses), "o", color=COLORS[0], alpha=0.6)
        axis.plot(np.mean(found_losses), place, "|", color=COLORS[1], markersize=16, markeredgewidth=2)
    axis.axvline(float(np.mean(losses["plain"])), color="gray", linewidth=1, linestyle=":")
    axis.set_yticks(range(len(losses)), list(losses), fontsize=8)
    axis.invert_yaxis()
    save(figure, "settings")

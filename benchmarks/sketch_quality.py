"""How good the sketch classifier is on real drawings, each number beside what it is compared with.

    python -m benchmarks.sketch_quality                all parts; an hour on two cores
    python -m benchmarks.sketch_quality book kinds     some of them; or single rows, as kinds/gru

    book     six classes: time to an accuracy of 0.857, a textbook's network in Keras against ours, an epoch in turn
    kinds    six classes: conv_lstm, gru and transformer, each trained for about as long
    early    six classes: accuracy by the share of a drawing that was seen, learned from whole and from broken-off ones
    little   258 classes of at most 20 drawings: with and without what was learned from six classes of thousands
    cost     drawings a second in training, by size of the network and of the batch

What the recipe reaches on six classes is measured with the stages themselves: `python -m benchmarks.real_data
quickdraw`. Epochs are chosen on the validation split, accuracies are of the test split.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.evaluation.bootstrap import mean
from stages.models.batch import by_length
from stages.models.network import Network
from stages.models.weights import load_network
from stages.tasks.sketch.evaluate.early import accuracy_by_share
from stages.tasks.sketch.model.network import SketchDataset, build, dataset
from stages.tasks.sketch.params import ModelParams
from stages.training import distributed, inference

from . import quality
from .data import Overlay
from .quality import Cell, Row, Trial
from .textbook_training import BOOK_EPOCHS, figures, keras
from .trainee import engine, in_turns

MARK = 0.857  # test accuracy of the textbook's network, as the project was given it
PER_CLASS = 20
_BATCH = 512  # drawings that are measured together

# The recipe keeps the last average of the weights; what stands here was measured with those of the best epoch.
_BEST: Overlay = {"ema_decay": 0.0, "choose": "best"}
_CALM = {"rotation": 5, "scale": 0.05, "shear": 0, "jitter": 0.5, "drop_strokes": 0, "reverse_strokes": 0}
# A network and a training that are done when the textbook's have hardly begun.
SMALL: Overlay = {
    "model": {
        "conv_channels": [32, 64, 96],
        "conv_strides": [2, 2, 2],
        "hidden_size": 64,
        "layers": 1,
        "dropout": 0.1,
        "augmentation": {**_CALM, "shuffle_strokes": 0},
    },
    "train": {"epochs": 3, "patience": 3, "learning_rate": 0.006, **_BEST},
}
# What differs from the recipe; each takes about as long as the others.
CONV_LSTM: Overlay = {"train": {"epochs": 30, **_BEST}}
GRU: Overlay = {"model": {"kind": "gru", "layers": 2}, "train": {"epochs": 8, "learning_rate": 0.004, **_BEST}}
TRANSFORMER: Overlay = {
    "model": {"kind": "transformer", "hidden_size": 96, "layers": 3, "dropout": 0.1},
    "train": {"epochs": 6, "learning_rate": 0.002, **_BEST},
}
BROKEN_OFF: Overlay = {"model": {"augmentation": {"break_off": 0.5}}, "train": CONV_LSTM["train"]}
LITTLE: Overlay = {
    "prepare": {"test_share": 0.25},
    "model": {"layers": 1, "dropout": 0.4, "label_smoothing": 0.1},
    "train": {"epochs": 60, "learning_rate": 0.004, **_BEST},
}
# From the weights of the recipe. The validation split is level from epoch 40 on.
_STRONG = {"scale": 0.3, "shear": 0.2, "jitter": 2.0, "drop_points": 0.1, "drop_strokes": 0.1}
FINE_TUNING: Overlay = {"model": {"dropout": 0.5, "augmentation": _STRONG}, "train": {"epochs": 80}}
CLASSES_345: Overlay = {"model": {"conv_channels": [64, 128, 256], "hidden_size": 384, "layers": 3}}


def book(trial: Trial) -> Mapping[str, Cell]:
    """Seconds to `MARK`: the textbook's network in Keras, ours on one thread; shares are ours of Keras's."""
    book = keras(trial.folder, trial.work, epochs=1 if trial.quick else BOOK_EPOCHS)
    with book, engine("ours", "sketch", trial.folder, trial.params, measured="test") as ours:
        in_turns(book, ours)
    theirs, own = (figures(trainee, MARK) for trainee in (book, ours))
    cells: dict[str, Cell] = {"accuracies of Keras": theirs["accuracies"], "of ours": own["accuracies"]}
    for figure in ("seconds_to_accuracy", "wall_seconds_to_accuracy", "training_seconds"):
        for side, found in (("Keras", theirs), ("ours", own)):
            cells[f"{figure}, {side}"] = found[figure] or "not reached"
        if theirs[figure] and own[figure]:
            cells[f"share of Keras's {figure}"] = own[figure] / theirs[figure]
    if own["seconds_to_accuracy"]:
        cells["ours to the accuracy by Keras's whole"] = own["seconds_to_accuracy"] / theirs["training_seconds"]
    return cells


def accuracy(trial: Trial, start: Path | None = None) -> Mapping[str, Cell]:
    """Top-1 and top-5 accuracy on the test split, weights, and what training and answering cost."""
    home, training = trial.trained(start=start)
    distributed.configure(seed=trial.params.train.seed, threads=trial.params.train.threads)
    network, _ = load_network(home, build, ModelParams)
    test = dataset(trial.folder, "test", trial.params, augment=False)
    started = time.perf_counter()
    logits = inference.predict(network, test, _BATCH)
    seconds = time.perf_counter() - started
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    return {
        **{f"top-{n}": mean((best[:, :n] == test.targets[:, None]).any(axis=1)) for n in (1, 5)},
        "weights": training["weights"],
        "epochs": training["epochs"],
        "training, s": training["training_seconds"],
        "drawings answered/s": round(len(test) / seconds),
        "drawings": len(test),
    }


def early(trial: Trial) -> Mapping[str, Cell]:
    """Accuracy by the share of a drawing's points that was seen."""
    home, _ = trial.trained()
    network, _ = load_network(home, build, ModelParams)
    test = dataset(trial.folder, "test", trial.params, augment=False)
    return {f"{share:.0%}": scores for share, scores in accuracy_by_share(network, test, _BATCH).items()}


def _few(trial: Trial) -> Trial:
    """The trial with few drawings of all classes but those that are at hand in thousands."""
    well_known = {name for name, form in trial.params.source.categories.items() if form == "simplified"}
    files = sorted((trial.source / "full" / "simplified").glob("*.ndjson"))
    categories = {path.stem: "simplified" for path in files if path.stem not in well_known}
    source = {"per_category": PER_CLASS, "categories": categories}
    return trial.overlaid({**LITTLE, "source": source})


def from_scratch(trial: Trial) -> Mapping[str, Cell]:
    """Many classes of few drawings."""
    return accuracy(_few(trial))


def pre_trained(trial: Trial) -> Mapping[str, Cell]:
    """The same from the weights that six classes have taught, and how many drawings stand on both sides."""
    few = _few(trial).overlaid(FINE_TUNING)
    taught, training = trial.trained()

    def drawings(folder: Path, *splits: str) -> set[bytes]:
        found = [SketchDataset(folder, split, ["offset"]) for split in splits]
        return {d.steps(np.array([i]))[0].tobytes() for d in found for i in range(len(d))}

    in_both = len(drawings(trial.folder, "train", "validation") & drawings(few.folder, "test"))
    before = {"pre-training, s": training["training_seconds"], "of its drawings here in test": in_both}
    return {**accuracy(few, start=taught), **before}


def cost(trial: Trial) -> Mapping[str, Cell]:
    """Drawings a second of one thread in training."""
    _, training = trial.trained()
    return {
        "weights": training["weights"],
        "drawings/s": round(training["sequences_per_second"]),
        "operations a drawing": _operations(trial),
    }


def _operations(trial: Trial) -> float:
    """Floating point operations of a drawing's forward and backward pass, in batches of like lengths, with padding.

    By PyTorch's counter, and by their matrices for LSTMs, which it does not count; backwards costs twice as much.
    """
    from torch.utils.flop_counter import FlopCounterMode

    recurrent: list[float] = []

    def count(module: torch.nn.LSTM, inputs: Any, output: Any) -> None:
        steps = inputs[0].shape[:2].numel()
        recurrent.append(2.0 * steps * sum(w.numel() for n, w in module.named_parameters() if "weight" in n))

    train = dataset(trial.folder, "train", trial.params, augment=False)
    network: Network = build(trial.params.model, {"classes": train.classes})
    for module in network.modules():
        if isinstance(module, torch.nn.LSTM):
            module.register_forward_hook(count)
    batches = list(by_length(train.lengths, trial.params.train.batch_size))[::10]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for batch in batches:
            network.eval()(train.batch(batch))
    return 3 * (counter.get_total_flops() + sum(recurrent)) / sum(map(len, batches))


ROWS = (
    Row(name="book/ours against the textbook's", recipe="quickdraw", overlay=SMALL, measure=book),
    Row(name="kinds/conv_lstm", recipe="quickdraw", overlay=CONV_LSTM, measure=accuracy),
    Row(name="kinds/gru", recipe="quickdraw", overlay=GRU, measure=accuracy),
    Row(name="kinds/transformer", recipe="quickdraw", overlay=TRANSFORMER, measure=accuracy),
    Row(name="early/learned from whole drawings", recipe="quickdraw", overlay=CONV_LSTM, measure=early),
    Row(name="early/half of them broken off", recipe="quickdraw", overlay=BROKEN_OFF, measure=early),
    Row(name="little/from scratch", recipe="quickdraw", measure=from_scratch),
    Row(name="little/pre-trained on six classes", recipe="quickdraw", measure=pre_trained),
    *(
        Row(
            name=f"little/pre-trained on six classes, seed {seed}",
            recipe="quickdraw",
            overlay={"train": {"seed": seed}},
            measure=pre_trained,
        )
        for seed in (2, 3)
    ),
    *(
        Row(
            name=f"cost/{name}, batch {batch_size}",
            recipe="quickdraw",
            overlay={**overlay, "train": {"epochs": 1, "batch_size": batch_size}},
            measure=cost,
        )
        for name, overlay in (("six classes", {}), ("345 classes", CLASSES_345))
        for batch_size in (64, 512)
    ),
)

if __name__ == "__main__":
    quality.main("sketch_quality", __doc__, ROWS, host="quickdraw", compared="top-1")

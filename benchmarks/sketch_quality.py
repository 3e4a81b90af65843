"""How good the sketch classifier is on real drawings, each number beside what it is compared with.

    python -m benchmarks.sketch_quality                all parts; some 50 minutes on two cores
    python -m benchmarks.sketch_quality book kinds     some of them

    book     six classes: time to an accuracy of 0.857, a textbook's network in Keras against ours, an epoch in turn
    kinds    six classes: conv_lstm, gru and transformer, each trained for about as long
    early    six classes: accuracy by the share of a drawing that was seen, learned from whole and from broken-off ones
    little   258 classes of at most 20 drawings: with and without what was learned from six classes of thousands
    cost     drawings a second in training, by size of the network and of the batch

What the recipe reaches on six classes is measured with the stages themselves: `python -m benchmarks.real_data
quickdraw`. All on the CPU. Epochs are chosen on the validation split, accuracies are of the test split, with 95 %
bootstrap intervals.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.evaluation.bootstrap import Scores, interval, mean
from stages.models.batch import by_length
from stages.models.network import Network
from stages.models.weights import parameters
from stages.tasks.protocol import Task
from stages.tasks.sketch.evaluate.early import accuracy_by_share
from stages.tasks.sketch.model.network import SketchDataset, build, dataset
from stages.tasks.sketch.params import Params
from stages.training import distributed, loop
from stages.training.inference import predict
from stages.training.progress import Epoch

from . import command, data, textbook
from .data import Changes, changed
from .specification import Specification
from .turns import Trainee, engine_command, in_turns

REPOSITORY = data.REPOSITORY
MARK = 0.857  # test accuracy of the textbook's network, as the project was given it
PER_CLASS = 20
_BATCH = 512  # drawings that are measured together

_CALM = {"rotation": 5, "scale": 0.05, "shear": 0, "jitter": 0.5, "drop_strokes": 0, "reverse_strokes": 0}
# A network and a training that are done when the textbook's have hardly begun.
QUICK: Changes = {
    "model": {
        "conv_channels": [32, 64, 96],
        "conv_strides": [2, 2, 2],
        "hidden_size": 64,
        "layers": 1,
        "dropout": 0.1,
        "augmentation": {**_CALM, "shuffle_strokes": 0},
    },
    "train": {"epochs": 3, "patience": 3, "learning_rate": 0.006},
}
# What differs from the recipe; each takes about as long as the others.
KINDS: dict[str, Changes] = {
    "conv_lstm": {"train": {"epochs": 30}},
    "gru": {"model": {"kind": "gru", "layers": 2}, "train": {"epochs": 8, "learning_rate": 0.004}},
    "transformer": {
        "model": {"kind": "transformer", "hidden_size": 96, "layers": 3, "dropout": 0.1},
        "train": {"epochs": 6, "learning_rate": 0.002},
    },
}
EARLY: dict[str, Changes] = {
    "learned from whole drawings": {"train": {"epochs": 30}},
    "half of them broken off": {"model": {"augmentation": {"break_off": 0.5}}, "train": {"epochs": 30}},
}
LITTLE: Changes = {
    "prepare": {"test_share": 0.25},
    "model": {"layers": 1, "dropout": 0.4, "label_smoothing": 0.1},
    "train": {"epochs": 60, "patience": 60, "learning_rate": 0.004},
}
BEFORE: Changes = {**LITTLE, "train": {"epochs": 10, "patience": 10, "learning_rate": 0.004}}
# Networks from the sample's to the recipe's for 345 classes, and batches.
SIZES: dict[str, Changes] = {
    "six classes": {},
    "345 classes": {"model": {"conv_channels": [64, 128, 256], "hidden_size": 384, "layers": 3}},
}


def _quickdraw(source: Path, work: Path) -> tuple[Path, Params]:
    """The recipe's six classes, prepared, and its params."""
    folder, params = data.recipe("quickdraw", source, work)
    assert isinstance(params, Params)
    return folder, params


def book(work: Path, source: Path) -> dict[str, Any]:
    """Seconds to `MARK`: the textbook's network in Keras, ours on one thread."""
    folder, params = _quickdraw(source, work)
    quick = changed(params, QUICK)
    specification = Specification.of("sketch", folder, quick, measured="test")
    path = specification.write(work / "specifications" / "quick.json")
    keras = [str(textbook.keras_environment(work)), str(Path(__file__).with_name("textbook_keras.py"))]
    keras += [str(textbook.written(folder, work)), str(textbook.BOOK_EPOCHS)]
    with ExitStack() as stack:
        book = stack.enter_context(Trainee("the textbook's, Keras", keras, epochs=textbook.BOOK_EPOCHS))
        ours = stack.enter_context(Trainee("ours", engine_command(path, 1), epochs=quick.train.epochs))
        in_turns([book, ours])
    figures: dict[str, Any] = {trainee.name: textbook.figures(trainee, MARK) for trainee in (book, ours)}
    reached = figures["ours"]["seconds_to_accuracy"]
    for against in ("training_seconds", "seconds_to_accuracy", "wall_seconds_to_accuracy"):
        theirs = figures[book.name][against]
        own = figures["ours"]["wall_seconds_to_accuracy"] if against.startswith("wall") else reached
        figures[f"share_of_the_book's_{against}"] = own / theirs if own and theirs else None
    return figures


def kinds(work: Path, source: Path) -> dict[str, Any]:
    """Accuracy, weights, seconds of training and drawings a second in answering, by kind of network."""
    folder, params = _quickdraw(source, work)
    figures = {}
    for kind, changes in KINDS.items():
        own = changed(params, changes)
        network, seconds = trained(folder, own)
        figures[kind] = measured(network, folder, own) | {"training_seconds": seconds, "epochs": own.train.epochs}
        print(f"  {kind}: {json.dumps(figures[kind])}", flush=True)
    return figures


def early(work: Path, source: Path) -> dict[str, Any]:
    """Accuracy by the share of a drawing's points that was seen, for trainings that saw unfinished drawings or not."""
    folder, params = _quickdraw(source, work)
    figures: dict[str, Any] = {}
    for name, changes in EARLY.items():
        own = changed(params, changes)
        network, _ = trained(folder, own)
        test = dataset(folder, "test", own, augment=False)
        found = accuracy_by_share(network, test, _BATCH)
        figures[name] = {f"{share:.0%}": _with_interval(scores) for share, scores in found.items()}
        print(f"  {name}: {json.dumps(figures[name])}", flush=True)
    return figures


def little(work: Path, source: Path) -> dict[str, Any]:
    """Top-1 and top-5 accuracy on many classes of few drawings, from scratch and from what six classes have taught."""
    six, params = _quickdraw(source, work)
    own = changed(params, LITTLE)
    well_known = {name for name, form in own.source.categories.items() if form == "simplified"}
    files = sorted((source / "full" / "simplified").glob("*.ndjson"))
    categories = {path.stem: "simplified" for path in files if path.stem not in well_known}
    own = changed(own, {"source": {"per_category": PER_CLASS, "categories": categories}})
    folder = data.prepared(Task("sketch"), own, work)
    taught, seconds_before = trained(six, changed(params, BEFORE))
    figures: dict[str, Any] = {"classes": len(categories), "seconds_of_pre_training": seconds_before}
    figures["drawings_in_both"] = _in_both(six, folder)
    for name, start in (("from scratch", None), ("pre-trained on six classes", taught)):
        network, seconds = trained(folder, own, start=start)
        figures[name] = measured(network, folder, own) | {"training_seconds": seconds}
        print(f"  {name}: {json.dumps(figures[name])}", flush=True)
    return figures


def cost(work: Path, source: Path) -> dict[str, Any]:
    """Drawings a second of one thread in training, by network and batch."""
    folder, params = _quickdraw(source, work)
    figures = {}
    for name, changes in SIZES.items():
        for batch_size in (64, 512):
            own = changed(changed(params, changes), {"train": {"epochs": 1, "batch_size": batch_size}})
            network = _fresh(folder, own)
            epochs: list[Epoch] = []
            _fit(network, folder, own, epochs.append)
            figures[f"{name}, batch {batch_size}"] = {
                "weights": parameters(network),
                "drawings_a_second": epochs[0].sequences_per_second,
                "operations_a_drawing": _operations(network, folder, own),
            }
            print(f"  {name}, {batch_size}: {json.dumps(figures[f'{name}, batch {batch_size}'])}", flush=True)
    return figures


def trained(folder: Path, params: Params, *, start: Network | None = None) -> tuple[Network, float]:
    """A network trained on the prepared data of `folder`, and the seconds that it took, measuring after each epoch
    included. It starts from another's weights but for its last layer, where another is given.
    """
    network = _fresh(folder, params)
    if start is not None:
        known = {k: v for k, v in start.state_dict().items() if not k.startswith("classify.")}
        missing = network.load_state_dict(known, strict=False).missing_keys
        assert all(name.startswith("classify.") for name in missing), missing
    started = time.perf_counter()
    _fit(network, folder, params, lambda epoch: None)
    return network, time.perf_counter() - started


def _fresh(folder: Path, params: Params) -> Network:
    distributed.configure(seed=params.train.seed, threads=params.train.threads)
    return build(params.model, {"classes": dataset(folder, "train", params, augment=False).classes})


def _fit(network: Network, folder: Path, params: Params, on_epoch: Callable[[Epoch], None]) -> None:
    train = dataset(folder, "train", params, augment=True)
    validation = dataset(folder, "validation", params, augment=False)
    loop.fit(network, train, validation, params.train, on_epoch=on_epoch)


def measured(network: Network, folder: Path, params: Params) -> dict[str, Any]:
    """Top-1 and top-5 accuracy of the test split with their intervals, weights, drawings answered a second."""
    test = dataset(folder, "test", params, augment=False)
    started = time.perf_counter()
    logits = predict(network, test, _BATCH)
    seconds = time.perf_counter() - started
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    figures: dict[str, Any] = {"weights": parameters(network), "drawings": len(test)}
    for name, count in (("top1", 1), ("top5", 5)):
        found = mean((best[:, :count] == test.targets[:, None]).any(axis=1))
        figures[name] = _with_interval(found)
    return figures | {"drawings_answered_a_second": len(test) / seconds}


def _with_interval(scores: Scores) -> list[float]:
    return [round(value, 4) for value in (scores.value(), *interval(scores))]


def _in_both(one: Path, other: Path) -> int:
    """Drawings to learn from in `one` that are to be recognised in `other`."""

    def drawings(folder: Path, *splits: str) -> set[bytes]:
        found = [SketchDataset(folder, split, ["offset"]) for split in splits]
        return {d.steps(np.array([i]))[0].tobytes() for d in found for i in range(len(d))}

    return len(drawings(one, "train", "validation") & drawings(other, "test"))


def _operations(network: Network, folder: Path, params: Params) -> float:
    """Floating point operations of a drawing's forward and backward pass, in batches of like lengths, with padding.

    By PyTorch's counter, and by their matrices for LSTMs, which it does not count; backwards costs twice as much.
    """
    from torch.utils.flop_counter import FlopCounterMode

    recurrent: list[float] = []

    def count(module: torch.nn.LSTM, inputs: Any, output: Any) -> None:
        steps = inputs[0].shape[:2].numel()
        recurrent.append(2.0 * steps * sum(w.numel() for n, w in module.named_parameters() if "weight" in n))

    train = dataset(folder, "train", params, augment=False)
    batches = list(by_length(train.lengths, params.train.batch_size))[::10]
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, torch.nn.LSTM)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for batch in batches:
            network.eval()(train.batch(batch))
    for hook in hooks:
        hook.remove()
    return 3 * (counter.get_total_flops() + sum(recurrent)) / sum(map(len, batches))


PARTS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "book": book,
    "kinds": kinds,
    "early": early,
    "little": little,
    "cost": cost,
}


def main() -> None:
    """The command line."""
    parser = command.parser("sketch_quality", __doc__, host="quickdraw")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    chosen = parser.parse_args()
    command.allowed(parser, chosen.parts, list(PARTS))
    work = chosen.work.resolve()
    command.in_parts(chosen.parts or list(PARTS), lambda part: PARTS[part](work, chosen.data), chosen.json)


if __name__ == "__main__":
    main()

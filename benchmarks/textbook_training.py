"""Trainings of the textbook's classifier of drawings (`textbook.py`) by our engine beside those by Keras, in turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import data
from .environments import python_of
from .textbook import FEATURES, INPUTS, TextbookDataset
from .trainee import Trainee, engine, in_turns

POINTS = 100  # of each drawing that Keras reads, its last ones
BOOK_BATCH = 32
FREE_BATCH = 256
BOOK_EPOCHS = 15
EPOCHS = {BOOK_BATCH: BOOK_EPOCHS, FREE_BATCH: 24}  # a larger batch takes fewer steps an epoch and needs more of them
RATES = {BOOK_BATCH: 0.003, FREE_BATCH: 0.006}  # of the batch sizes, found by trying; Keras has Adam's usual 0.001
ACCURACY = 0.85  # the mark for the time to an accuracy
PLACEMENTS = {"1 thread": (1, 1), "2 threads": (1, 2), "2 ranks": (2, 1)}  # name → ranks, threads of each


def run(work: Path, source: Path, *, quick: bool) -> dict[str, Any]:
    """Both sides on six classes of Quick, Draw!, an epoch in turn; what each reached, and the ratios.

    Ours trains to the end at the book's batch size and at a larger one on one thread; in the other placements it takes
    a few epochs, for their speed. The short trainings lower their learning rate to 0 in three epochs: one that wants
    an accuracy and no more needs no more.
    """
    task, params = data.recipe_params("quickdraw", source, work)
    folder = data.prepared(task, params, work)
    with ExitStack() as stack:
        trainees = [stack.enter_context(keras(folder, work, epochs=1 if quick else BOOK_EPOCHS))]
        for number, (placement, (ranks, threads)) in enumerate(list(PLACEMENTS.items())[: 1 if quick else None]):
            for kind, batch_size, epochs in (
                (f"batch {BOOK_BATCH}", BOOK_BATCH, EPOCHS[BOOK_BATCH]),
                (f"batch {FREE_BATCH}", FREE_BATCH, EPOCHS[FREE_BATCH]),
                ("short", BOOK_BATCH, 3),
            ):
                epochs = 1 if quick else epochs
                changes: dict[str, float] = {"epochs": epochs, "patience": epochs, "batch_size": batch_size}
                changes |= {"learning_rate": RATES[batch_size], "ranks": ranks, "threads": threads}
                own = data.overlaid(params, {"train": changes})
                ours = engine(f"ours, {kind}, {placement}", "sketch", folder, own, measured="test", textbook=True)
                ours.epochs = epochs if number == 0 else min(epochs, 4)
                trainees.append(stack.enter_context(ours))
        in_turns(*trainees)
    return summary({trainee.name: figures(trainee, ACCURACY) for trainee in trainees})


def summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Each training in figures, Keras's first, then the best of ours against it."""
    keras, *ours = results
    result: dict[str, Any] = {"trainings": results}

    def against(name: str, figure: str, choose: Callable[..., str], kind: str) -> None:
        values = {run: results[run][figure] for run in ours if run.startswith(kind) and results[run][figure]}
        theirs = results[keras][figure]
        if values and theirs:
            best = choose(values, key=lambda run: values[run])
            result[name] = {"best": best, "ours": values[best], "keras": theirs, "ratio": values[best] / theirs}

    for batch_size in (BOOK_BATCH, FREE_BATCH):
        against(f"batch_{batch_size}", "sequences_per_second", max, f"ours, batch {batch_size},")
    for figure in ("seconds_to_accuracy", "wall_seconds_to_accuracy"):
        against(figure, figure, min, "ours")
    return result


def figures(trainee: Trainee, mark: float) -> dict[str, Any]:
    """One training in figures, with its times to a test accuracy of `mark`.

    The first epoch, in which Keras traces its graph, counts for the times to the accuracy and not for the throughput.
    The seconds to the accuracy are of training alone; the wall seconds are from the start of the process and hold
    imports and the measuring after each epoch as well, and not the waiting for a turn.
    """
    answers = trainee.answers
    accuracies = [answer["measured_accuracy"] for answer in answers]
    reached = next((i + 1 for i, accuracy in enumerate(accuracies) if accuracy >= mark), None)
    until, later = answers[:reached], answers[1:] or answers
    return {
        **trainee.ready,
        "start_up_seconds": trainee.start_up,
        "epochs": len(answers),
        "training_seconds": sum(answer["seconds"] for answer in answers),
        "sequences_per_second": median(answer["sequences_per_second"] for answer in later),
        "test_accuracy": accuracies[-1],
        "best_test_accuracy": max(accuracies),
        "accuracies": accuracies,
        "epochs_to_accuracy": reached,
        "seconds_to_accuracy": sum(a["seconds"] for a in until) if reached else None,
        "wall_seconds_to_accuracy": trainee.start_up + sum(a["turn_seconds"] for a in until) if reached else None,
        "data_wait_share": median(a["data_wait_share"] for a in later) if "data_wait_share" in later[0] else None,
    }


def keras(folder: Path, work: Path, *, epochs: int) -> Trainee:
    """Keras's side on a prepared folder, by the Python of an environment with Keras below the work folder."""
    program = [python_of("keras", work), Path(__file__).with_name("textbook_keras.py")]
    command = [*map(str, program), str(_written(folder, work)), str(epochs)]
    return Trainee(f"Keras, batch {BOOK_BATCH}", command, epochs=epochs)


def _written(folder: Path, work: Path) -> Path:
    """What Keras reads: an .npz file with `(drawings, 100, 3)` float32 and the class numbers of two splits."""
    path = work / f"{folder.name}-textbook.npz"
    if not path.is_file():
        arrays: dict[str, Any] = {}
        for split in ("train", "test"):
            dataset = TextbookDataset(folder, split, FEATURES)
            arrays[f"{split}_values"] = np.zeros((len(dataset), POINTS, len(INPUTS)), dtype=np.float32)
            for example, row in enumerate(arrays[f"{split}_values"]):
                values = dataset.batch(np.array([example])).values[0, -POINTS:].numpy()
                row[: len(values)] = values
            arrays[f"{split}_targets"] = dataset.targets
        np.savez(path, **arrays)
    return path

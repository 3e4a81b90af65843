"""How good the video classifier is on real clips: cross-validation over groups of UCF-101, learned from encoded frames.

    python -m benchmarks.video_quality                 some minutes on two cores, decoding included

The clips are those that `--data` holds of UCF-101, 108 of three classes in 18 groups, prepared once with the recipe
`ucf101`: what the encoder says to a frame does not depend on the fold. Each group is tested on in one of six folds by
networks that have learned from the other folds, for as many epochs as the recipe says: no clip of a fold chooses what
answers it. Beside them stands a linear classifier of each clip's mean features. Intervals are 95 % bootstraps over
groups.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages import engine
from stages.preparation import open_prepared
from stages.scores import interval, mean
from stages.tasks.video.model.clips import ClipDataset
from stages.tasks.video.model.network import build
from stages.tasks.video.params import Params
from stages.weights import parameters

from . import data

REPOSITORY = data.REPOSITORY
FOLDS = 6
KINDS = ("cnn_lstm", "transformer")

Answers = Callable[[np.ndarray, np.ndarray], np.ndarray]


def folds(groups: np.ndarray) -> np.ndarray:
    """The fold of each clip, `(clips,)`, from its group: groups in alphabetical order, dealt out in turn."""
    found: np.ndarray = np.unique(groups, return_inverse=True)[1] % FOLDS
    return found


def crossed(groups: np.ndarray, labels: np.ndarray, answers: Answers) -> dict[str, Any]:
    """Accuracy by fold, their mean and its interval, of `answers(rows to learn from, rows to answer)`."""
    fold = folds(groups)
    right = np.empty(len(labels), dtype=bool)
    started = time.perf_counter()
    for number in range(FOLDS):
        asked = np.flatnonzero(fold == number)
        right[asked] = answers(np.flatnonzero(fold != number), asked) == labels[asked]
    by_fold = [float(right[fold == number].mean()) for number in range(FOLDS)]
    low, high = interval(mean(right, np.unique(groups, return_inverse=True)[1]))
    return {
        "accuracy": round(float(np.mean(by_fold)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "by_fold": [round(value, 4) for value in by_fold],
        "seconds": round(time.perf_counter() - started, 1),
    }


def linear(folder: Path) -> Answers:
    """A linear classifier of each clip's mean features."""
    clips = ClipDataset(folder, np.arange(len(open_prepared(folder)[0])), None, seed=0)
    means = np.stack([clips.features(clip).astype(np.float64).mean(axis=0) for clip in range(len(clips))])

    def answers(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        classifier.fit(means[known], clips.labels[known])
        predicted: np.ndarray = classifier.predict(means[asked])
        return predicted

    return answers


def network(folder: Path, params: Params) -> Answers:
    """The network of `params`, from fresh weights in each fold, after the last of its epochs."""
    _, description = open_prepared(folder)

    def answers(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
        # One thread: a second one gains nothing in steps of milliseconds, and beside other work it waits and spins.
        engine.configure(seed=params.train.seed, threads=1)
        built = build(params.model, description)
        train = ClipDataset(folder, known, params.model.augmentation, seed=params.train.seed)
        # The epoch is chosen by the loss on the very clips that are learned from: in effect one of the last.
        engine.fit(built, train, ClipDataset(folder, known, None, seed=0), params.train)
        return engine.predict(built, ClipDataset(folder, asked, None, seed=0), params.train.batch_size).argmax(axis=1)

    return answers


def measured(work: Path, source: Path) -> dict[str, Any]:
    """The accuracy of the linear classifier and of each kind of network, and what it all took."""
    started = time.perf_counter()
    task, loaded = data.recipe_params("ucf101", source, work)
    values = loaded.model_dump(by_alias=True)
    # The official lists test on groups that may not be there. How the store is split is not read here.
    params = Params.model_validate({**values, "prepare": {**values["prepare"], "split": "group"}})
    folder = data.prepared(task, params, work)
    figures: dict[str, Any] = {"seconds_to_prepare": round(time.perf_counter() - started, 1)}
    store, description = open_prepared(folder)
    groups, labels = store.column("group").astype(str), store.column("label")
    figures |= {"clips": len(store), "groups": len(np.unique(groups))}
    figures["linear classifier of mean features"] = crossed(groups, labels, linear(folder))
    for kind in KINDS:
        own = params.model_copy(update={"model": params.model.model_copy(update={"kind": kind})})
        figures[kind] = crossed(groups, labels, network(folder, own))
        figures[kind]["weights"] = parameters(build(own.model, description))
        print(f"  {kind}: {json.dumps(figures[kind])}", flush=True)
    return figures | {"seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.video_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, default=REPOSITORY / "data" / "benchmarks", help="default: %(default)s")
    parser.add_argument(
        "--data",
        type=Path,
        default=REPOSITORY.parent / "shared" / "data" / "ucf101",
        help="a copy of UCF-101's host with its layout, or a part of it; default: %(default)s",
    )
    parser.add_argument("--json", type=Path, help="write the result there")
    chosen = parser.parse_args()
    text = json.dumps(measured(chosen.work.resolve(), chosen.data), indent=1)
    if chosen.json:
        chosen.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""How good the video classifier is, and what it costs: each kind of network on the sample and on real clips.

    python -m benchmarks.video_quality                          all rows of the table
    python -m benchmarks.video_quality sample/cnn3d encoded     some of them

    sample/KIND       digits in motion, with params.yaml but for the kind; its own split
    encoded/KIND      UCF-101 by the recipe: networks read what the frozen EfficientNet-Lite0 says to each frame
    encoded/linear    a linear classifier of the means of these features over a clip
    encoded/moments   by their means and standard deviations: evaluate's baseline, which networks are to reach
    encoded/epochs    cnn_lstm's accuracy where another fold chooses the epoch, by rules of choosing
    scratch/KIND      UCF-101 without that encoder: everything is learned from these clips
    …/prepare         decoding, and encoding where there is an encoder

Every row stands in a file below `--work` once it is whole: asked for again, it is read, unless code or params have
changed.

The UCF-101 clips are those that `--data` holds, 108 of three classes in 18 groups. Each group is tested on in one of
six folds by networks that have learned from the other folds, for as many epochs as the recipe says, the last of which
is kept: no clip chooses what answers it. Accuracy is the mean over folds and over trainings from other first weights;
its interval is a 95 % bootstrap over groups of what each clip got on average. Networks train on one thread: a second
one gains nothing in steps of milliseconds, and beside other work it waits and spins.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.data.evenly import evenly
from stages.data.prepared import open_prepared
from stages.evaluation.bootstrap import interval, mean
from stages.provenance.hashes import code_md5
from stages.tasks.video.data.layout import CLIPS

from . import data, quality
from .data import Overlay
from .quality import Cell, Row, Trial
from .timing import processor_seconds

if TYPE_CHECKING:
    from stages.tasks.video.model.clips import ClipDataset
    from stages.tasks.video.model.network import ClipClassifier

FOLDS = 6
# Of first weights and batches, a training for each; what learns from frames of 56 pixels takes minutes for each fold.
SEEDS = {"sample": (1, 2, 3), "encoded": (1, 2, 3), "scratch": (1,)}
KINDS = ("cnn_lstm", "cnn3d_rnn", "conv_lstm", "cnn3d", "transformer")
_FROM_FILES = 32  # clips that the registered model's code is asked about, from their files
_BATCH = 32

# What differs from params.yaml, or from the recipe. The official lists test on groups that may not be there.
ENCODED: Overlay = {"prepare": {"split": "group"}}
SCRATCH: Overlay = {
    "prepare": {"split": "group", "encoder": "none", "mirrored": False},
    "model": {
        "frame_changes": True,
        "moments": False,
        "dropout": 0.2,
        "augmentation": {"shift": 0.15, "crop": 0.2, "brightness": 0.2, "color": 0.2},
    },
}
_DATA_CODE = ("tasks.video.source.download", "tasks.video.prepare.prepare")
_NETWORK_CODE = (*_DATA_CODE, "training.loop", "tasks.video.model.network", "tasks.video.serve.predictor")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """Which rows of the store are learned from, which choose the epoch, and which are tested on."""

    train: np.ndarray
    choosing: np.ndarray
    test: np.ndarray


def folds(trial: Trial) -> list[Fold]:
    """The sample's own split; the six folds of UCF-101's clips, groups in alphabetical order dealt out in turn, where
    the recipe keeps the last epoch: what is measured after each says nothing, and is one clip.
    """
    store, _ = open_prepared(trial.folder)
    if trial.row.part == "sample":
        return [Fold(train=store.rows("train"), choosing=store.rows("validation"), test=store.rows("test"))]
    fold = groups_of(trial) % FOLDS
    known = [np.flatnonzero(fold != number) for number in range(FOLDS)]
    return [Fold(train=k, choosing=k[:1], test=np.flatnonzero(fold == number)) for number, k in enumerate(known)]


def groups_of(trial: Trial) -> np.ndarray:
    """The number of each clip's group, in alphabetical order."""
    store, _ = open_prepared(trial.folder)
    return np.unique(store.column("group").astype(str), return_inverse=True)[1]


def measured(trial: Trial, by: Callable[[Trial], dict[str, Cell]], code: tuple[str, ...]) -> Mapping[str, Cell]:
    """A row's cells, out of its file where it has been measured before."""
    facts = {
        "row": trial.row.name,
        "params": trial.params.model_dump(include={"source", "prepare", "model", "train"}),
        "code": code_md5(f"stages.{name}" for name in code),
        "turns": [FOLDS, SEEDS[trial.row.part], trial.quick],
    }
    row = data.kept(trial.work / "video_rows", facts, lambda: {"cells": list(by(trial).items())})
    return dict(row["cells"])


def prepare(trial: Trial) -> dict[str, Cell]:
    """Clips, groups, and the seconds that decoding (and encoding) takes; whatever was there is made anew."""
    started, processor_before = time.perf_counter(), processor_seconds()
    folder = data.prepared(trial.task, trial.params, trial.work, anew=True)
    seconds, processor = time.perf_counter() - started, processor_seconds() - processor_before
    store, _ = open_prepared(folder)
    groups = len(np.unique(store.column("group").astype(str)))
    return {"clips": len(store), "groups": groups, "preparing, s": seconds, "its processor time, s": processor}


def linear(trial: Trial) -> dict[str, Cell]:
    """A linear classifier of the means of each clip's features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from stages.tasks.video.model.clips import ClipDataset

    clips = ClipDataset(trial.folder, np.arange(len(open_prepared(trial.folder)[0])), None, seed=0)
    means = np.stack([clips.features(clip).astype(np.float64).mean(axis=0) for clip in range(len(clips))])
    right: list[np.ndarray] = []
    for fold in folds(trial):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        classifier.fit(means[fold.train], clips.labels[fold.train])
        right.append(classifier.predict(means[fold.test]) == clips.labels[fold.test])
    return {"weights": (means.shape[1] + 1) * len(clips.classes), **accuracy(trial, [right])}


def moments(trial: Trial) -> dict[str, Cell]:
    """The baseline that the evaluate stage shows."""
    from stages.tasks.video.data.columns import FEATURE_SIZE
    from stages.tasks.video.evaluate.baselines import moment_predictions
    from stages.tasks.video.model.clips import ClipDataset

    right: list[np.ndarray] = []
    for fold in folds(trial):
        train, test = (ClipDataset(trial.folder, rows, None, seed=0) for rows in (fold.train, fold.test))
        right.append(moment_predictions(train, test, groups_of(trial)[fold.train]) == test.labels)
    return {"weights": (2 * FEATURE_SIZE + 1) * len(test.classes), **accuracy(trial, [right])}


def networks(trial: Trial) -> dict[str, Cell]:
    """Accuracy of networks from fresh weights, for each seed and fold; what they cost to train and to ask."""
    from stages.models.weights import parameters
    from stages.tasks.video.model.clips import ClipDataset
    from stages.training import inference

    right: list[list[np.ndarray]] = []
    seconds: list[float] = []
    processor: list[float] = []
    for seed in SEEDS[trial.row.part]:
        right.append([])
        for fold in folds(trial):
            started, processor_before = time.perf_counter(), processor_seconds()
            network = trained(trial, fold, seed)
            seconds.append(time.perf_counter() - started)
            processor.append(processor_seconds() - processor_before)
            test = ClipDataset(trial.folder, fold.test, None, seed=0)
            right[-1].append(inference.predict(network, test, _BATCH).argmax(axis=1) == test.labels)
            print(f"  seed {seed}: {', '.join(f'{fold.mean():.3f}' for fold in right[-1])}", flush=True)
    return {
        "weights": parameters(network),
        **accuracy(trial, right),
        "a training, s": float(np.median(seconds)),
        "of the processor, s": float(np.median(processor)),
        **clips_per_second(network, test, trial),
    }


def trained(
    trial: Trial, fold: Fold, seed: int, *, on_epoch: Callable[[ClipClassifier], None] = lambda network: None
) -> ClipClassifier:
    """A network that has learned from a fold; `on_epoch` is called with it after each epoch."""
    from stages.tasks.video.model.clips import ClipDataset
    from stages.tasks.video.model.network import build
    from stages.training import distributed, loop

    params = data.overlaid(trial.params, {"train": {"seed": seed, "threads": 1}})
    if trial.quick:
        params = data.overlaid(params, {"train": {"epochs": 1}})
    distributed.configure(seed=seed, threads=1)
    network = build(params.model, open_prepared(trial.folder)[1])
    network.load_pretrained(trial.folder)
    train = ClipDataset(trial.folder, fold.train, params.model.augmentation, seed=seed)
    choosing = ClipDataset(trial.folder, fold.choosing, None, seed=0)
    loop.fit(network, train, choosing, params.train, on_epoch=lambda epoch: on_epoch(network))
    return network


def epochs(trial: Trial) -> dict[str, Cell]:
    """Accuracy on a fold of the epoch that another fold chooses, the network trained on the other four; the mean over
    all ordered pairs of folds, by rule of choosing, for one seed.
    """
    from scipy.special import log_softmax

    from stages.tasks.video.model.clips import ClipDataset
    from stages.training import inference

    fold = groups_of(trial) % FOLDS
    found: dict[str, list[float]] = {}
    for pair in combinations(range(FOLDS), 2):
        rest = np.flatnonzero(~np.isin(fold, pair))
        held = [ClipDataset(trial.folder, np.flatnonzero(fold == number), None, seed=0) for number in pair]
        answers: list[list[np.ndarray]] = []

        def on_epoch(network: ClipClassifier, held: Any = held, answers: Any = answers) -> None:
            answers.append([log_softmax(inference.predict(network, clips, _BATCH), axis=1) for clips in held])

        trained(trial, Fold(train=rest, choosing=rest[:1], test=rest), SEEDS["encoded"][0], on_epoch=on_epoch)
        right = [np.array([(a[n].argmax(axis=1) == c.labels).mean() for a in answers]) for n, c in enumerate(held)]
        loss = [np.array([-a[n][np.arange(len(c)), c.labels].mean() for a in answers]) for n, c in enumerate(held)]
        for by, test in ((0, 1), (1, 0)):
            level = np.flatnonzero(right[by] == right[by].max())
            chosen = {
                "accuracy, the first": level[0],
                "accuracy, the last": level[-1],
                "accuracy, the lowest loss": level[loss[by][level].argmin()],
                "loss": loss[by].argmin(),
                "the last epoch": len(answers) - 1,
            }
            for rule, epoch in chosen.items():
                found.setdefault(rule, []).append(float(right[test][epoch]))
    return {rule: float(np.mean(values)) for rule, values in found.items()}


def accuracy(trial: Trial, right: list[list[np.ndarray]]) -> dict[str, Any]:
    """The mean with its interval, and by seed and by fold, of whether each test clip in each fold, for each seed, was
    answered right.
    """
    test = np.concatenate([fold.test for fold in folds(trial)])
    groups = groups_of(trial)[test]
    by_clip = np.mean([np.concatenate(by_fold) for by_fold in right], axis=0)
    means = np.array([[fold.mean() for fold in by_fold] for by_fold in right])
    low, high = interval(mean(by_clip, groups))
    return {
        "right, by seed": [int(np.concatenate(by_fold).sum()) for by_fold in right],
        "accuracy": {"value": float(means.mean()), "low": low, "high": high},
        "by seed": means.mean(axis=1).tolist(),
        "by fold": means.mean(axis=0).tolist(),
        "test clips": len(test),
    }


def clips_per_second(network: ClipClassifier, clips: ClipDataset, trial: Trial) -> dict[str, float]:
    """Of one thread: by the network alone, as they lie in the store, and by the registered model's code from their
    files, decoding and encoding included.
    """
    import pandas as pd

    from stages.models.weights import save_network
    from stages.tasks.video.serve.predictor import Predictor
    from stages.training import inference

    started, answered = time.perf_counter(), 0
    while time.perf_counter() - started < 2:
        answered += len(inference.predict(network, clips, _BATCH))
    alone = answered / (time.perf_counter() - started)
    folder, description = trial.folder, open_prepared(trial.folder)[1]
    raw = data.raw_folder(folder) / CLIPS
    paths = [str(raw / clips.name(example)) for example in evenly(len(clips), _FROM_FILES).tolist()]
    with tempfile.TemporaryDirectory() as weights:
        save_network(Path(weights), network, trial.params.model, description, prepared=folder, training={})
        predictor = Predictor(Path(weights))
        predictor.predict(pd.DataFrame({"path": paths[:2]}))
        started = time.perf_counter()
        predictor.predict(pd.DataFrame({"path": paths}))
        return {"network alone, clips/s": alone, "from files": len(paths) / (time.perf_counter() - started)}


MEASURES: Mapping[str, Callable[[Trial], dict[str, Cell]]] = {
    "prepare": prepare,
    "linear": linear,
    "moments": moments,
    "epochs": epochs,
    **dict.fromkeys(KINDS, networks),
}
ROWS = tuple(
    Row(
        name=f"{part}/{name}",
        task="video",
        recipe=recipe,
        overlay={**overlay, "model": {**overlay.get("model", {}), **({"kind": name} if name in KINDS else {})}},
        measure=partial(measured, by=MEASURES[name], code=_DATA_CODE if name == "prepare" else _NETWORK_CODE),
    )
    for part, recipe, overlay, names in (
        ("sample", "", {}, ("prepare", *KINDS)),
        ("encoded", "ucf101", ENCODED, ("prepare", "linear", "moments", "epochs", "cnn_lstm", "transformer")),
        ("scratch", "ucf101", SCRATCH, ("prepare", *KINDS)),
    )
    for name in names
)

if __name__ == "__main__":
    quality.main("video_quality", __doc__, ROWS, host="ucf101", minutes=None)

"""How good the video classifier is, and what it costs: each kind of network on the sample and on real clips.

    python -m benchmarks.video_quality                          all rows of the table
    python -m benchmarks.video_quality sample/cnn3d             some of them
    python -m benchmarks.video_quality --list                   the rows, and which of them are there

    sample/KIND       digits in motion, with params.yaml but for the kind; its own split
    encoded/KIND      UCF-101 by the recipe: networks read what the frozen EfficientNet-Lite0 says to each frame
    encoded/linear    a linear classifier of the means of these features over a clip, which the networks are to beat
    encoded/moments   the same of their means and standard deviations
    scratch/KIND      UCF-101 without that encoder: everything is learned from these clips

Every row is measured in a process of its own, and stands in a file below `--work` once it is whole: asked for again, it
is read, unless code or params have changed. Decoding, and encoding where there is an encoder, is a row of its own,
measured before the others of its data.

The UCF-101 clips are those that `--data` holds, 108 of three classes in 18 groups. Each group is tested on in one of
six folds by networks that have learned from the other folds, for as many epochs as the recipe says: no clip of a fold
chooses what answers it. Accuracy is the mean over folds and over trainings from other first weights; its interval is a
95 % bootstrap over groups of what each clip got on average. Networks train on one thread: a second one gains nothing in
steps of milliseconds, and beside other work it waits and spins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.data.prepared import open_prepared
from stages.evaluation.bootstrap import evenly, interval, mean
from stages.evaluation.report import table_row
from stages.params import load
from stages.provenance.hashes import code_md5
from stages.tasks.protocol import Task
from stages.tasks.video.data.layout import CLIPS
from stages.tasks.video.params import Params

from . import command, data
from .data import Changes, changed
from .rounds import processor_seconds

if TYPE_CHECKING:
    from stages.tasks.video.model.network import ClipClassifier

FOLDS = 6
# Of first weights and batches, a training for each; what learns from frames of 56 pixels takes minutes for each fold.
SEEDS = {"sample": (1, 2, 3), "encoded": (1, 2, 3), "scratch": (1,)}
KINDS = ("cnn_lstm", "cnn3d_rnn", "conv_lstm", "cnn3d", "transformer")
PREPARE, LINEAR, MOMENTS = "prepare", "linear", "moments"
_ASKED = 32  # clips that the registered model's code is asked about, from their files
_BATCH = 32

# What differs from params.yaml, or from the recipe.
SETTINGS: dict[str, Changes] = {
    "sample": {},
    # The official lists test on groups that may not be there. How the store is split is not read here.
    "encoded": {"prepare": {"split": "group"}},
    "scratch": {
        "prepare": {"split": "group", "encoder": "none", "mirrored": False},
        "model": {
            "frame_changes": True,
            "moments": False,
            "dropout": 0.2,
            "augmentation": {"shift": 0.15, "crop": 0.2, "brightness": 0.2, "color": 0.2},
        },
    },
}
ROWS = (
    *(f"sample/{name}" for name in (PREPARE, *KINDS)),
    *(f"encoded/{name}" for name in (PREPARE, LINEAR, MOMENTS, "cnn_lstm", "transformer")),
    *(f"scratch/{name}" for name in (PREPARE, *KINDS)),
)
# What figures stand on: blocks of params, and code.
_DATA, _DATA_CODE = {"source", "prepare"}, ("tasks.video.source.download", "tasks.video.prepare.prepare")
_NETWORK = {*_DATA, "model", "train"}
_NETWORK_CODE = (*_DATA_CODE, "training.loop", "tasks.video.model.network", "tasks.video.serve.predictor")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of the table: what is learned from, by what, and where its figures are kept."""

    name: str
    params: Params
    work: Path

    @property
    def setting(self) -> str:
        return self.name.partition("/")[0]

    @property
    def learner(self) -> str:
        return self.name.partition("/")[2]

    @property
    def file(self) -> Path:
        """Named after all that the figures stand on."""
        blocks, modules = (_DATA, _DATA_CODE) if self.learner == PREPARE else (_NETWORK, _NETWORK_CODE)
        facts = {
            "params": self.params.model_dump(include=blocks),
            "code": code_md5(f"stages.{name}" for name in modules),
            "turns": [FOLDS, SEEDS[self.setting]],
        }
        return self.work / "rows" / f"{self.name.replace('/', '-')}-{data.digest(facts)}.json"


def row_of(name: str, source: Path, work: Path) -> Row:
    """A row with its params; `source` stands in for UCF-101's host."""
    setting, _, learner = name.partition("/")
    if setting == "sample":
        loaded = load(data.REPOSITORY / "params.yaml")["video"]
    else:
        _, loaded = data.recipe_params("ucf101", source, work)
    assert isinstance(loaded, Params)
    changes = {**SETTINGS[setting]}
    if learner in KINDS:
        changes["model"] = {**changes.get("model", {}), "kind": learner}
    return Row(name=name, params=changed(loaded, changes), work=work)


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """Which rows of the store are learned from, which choose the epoch, and which are asked."""

    known: np.ndarray
    choosing: np.ndarray
    asked: np.ndarray


def turns(folder: Path, setting: str) -> list[Turn]:
    """The sample's own split; the six folds of UCF-101's clips, groups in alphabetical order dealt out in turn, where
    the epoch is chosen by the loss on the very clips that are learned from: in effect one of the last.
    """
    store, _ = open_prepared(folder)
    if setting == "sample":
        return [Turn(known=store.rows("train"), choosing=store.rows("validation"), asked=store.rows("test"))]
    fold = np.unique(store.column("group").astype(str), return_inverse=True)[1] % FOLDS
    known = [np.flatnonzero(fold != number) for number in range(FOLDS)]
    return [Turn(known=k, choosing=k, asked=np.flatnonzero(fold == number)) for number, k in enumerate(known)]


def prepared(row: Row) -> dict[str, Any]:
    """Clips, groups, and the seconds that decoding (and encoding) takes; whatever was there is made anew."""
    started, processor_before = time.perf_counter(), processor_seconds()
    folder = data.prepared(Task("video"), row.params, row.work, anew=True)
    seconds, processor = time.perf_counter() - started, processor_seconds() - processor_before
    store, _ = open_prepared(folder)
    groups = len(np.unique(store.column("group").astype(str)))
    return {"clips": len(store), "groups": groups, "seconds": seconds, "processor_seconds": processor}


def linear(row: Row) -> dict[str, Any]:
    """A linear classifier of the means of each clip's features, or of their means and standard deviations."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from stages.tasks.video.model.clips import ClipDataset

    folder = data.prepared(Task("video"), row.params, row.work)
    clips = ClipDataset(folder, np.arange(len(open_prepared(folder)[0])), None, seed=0)
    features = [clips.features(clip).astype(np.float64) for clip in range(len(clips))]
    moments = np.stack([clip.mean(axis=0) for clip in features])
    if row.learner == MOMENTS:
        moments = np.hstack([moments, [clip.std(axis=0) for clip in features]])
    right: list[np.ndarray] = []
    for turn in turns(folder, row.setting):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        classifier.fit(moments[turn.known], clips.labels[turn.known])
        right.append(classifier.predict(moments[turn.asked]) == clips.labels[turn.asked])
    return {"weights": (moments.shape[1] + 1) * len(clips.classes), **accuracy(folder, row.setting, [right])}


def networks(row: Row) -> dict[str, Any]:
    """Accuracy of networks from fresh weights, for each seed and fold; what they cost to train and to ask."""
    from stages.models.weights import parameters
    from stages.tasks.video.model.clips import ClipDataset
    from stages.tasks.video.model.network import build
    from stages.training import distributed, loop
    from stages.training.inference import predict

    folder = data.prepared(Task("video"), row.params, row.work)
    description = open_prepared(folder)[1]
    right: list[list[np.ndarray]] = []
    seconds: list[float] = []
    processor: list[float] = []
    for seed in SEEDS[row.setting]:
        params = changed(row.params, {"train": {"seed": seed, "threads": 1}})
        right.append([])
        for turn in turns(folder, row.setting):
            distributed.configure(seed=seed, threads=1)
            network = build(params.model, description)
            network.load_pretrained(folder)
            train = ClipDataset(folder, turn.known, params.model.augmentation, seed=seed)
            if network.moments is not None:  # of what this fold learns from, and nothing else
                network.moments.standardise(train.features(clip) for clip in range(len(train)))
            asked = ClipDataset(folder, turn.asked, None, seed=0)
            started, processor_before = time.perf_counter(), processor_seconds()
            loop.fit(network, train, ClipDataset(folder, turn.choosing, None, seed=0), params.train)
            seconds.append(time.perf_counter() - started)
            processor.append(processor_seconds() - processor_before)
            right[-1].append(predict(network, asked, _BATCH).argmax(axis=1) == asked.labels)
            print(f"  seed {seed}: {', '.join(f'{fold.mean():.3f}' for fold in right[-1])}", flush=True)
    return {
        "weights": parameters(network),
        **accuracy(folder, row.setting, right),
        "training_seconds": float(np.median(seconds)),
        "training_processor_seconds": float(np.median(processor)),
        **asked_how_fast(network, asked, folder, row),
    }


def accuracy(folder: Path, setting: str, right: list[list[np.ndarray]]) -> dict[str, Any]:
    """The mean, its interval, and the parts, of whether each clip asked in each fold, for each seed, was answered
    right.
    """
    store, _ = open_prepared(folder)
    asked = np.concatenate([turn.asked for turn in turns(folder, setting)])
    groups = np.unique(store.column("group")[asked].astype(str), return_inverse=True)[1]
    by_clip = np.mean([np.concatenate(folds) for folds in right], axis=0)
    means = np.array([[fold.mean() for fold in folds] for folds in right])
    return {
        "accuracy": float(means.mean()),
        "interval": list(interval(mean(by_clip, groups))),
        "by_seed": means.mean(axis=1).tolist(),
        "by_fold": means.mean(axis=0).tolist(),
        "clips": len(asked),
    }


def asked_how_fast(network: ClipClassifier, clips: Any, folder: Path, row: Row) -> dict[str, float]:
    """Clips a second of one thread: by the network alone, as they lie in the store, and by the registered model's code
    from their files, decoding and encoding included.
    """
    import pandas as pd

    from stages.models.weights import save_network
    from stages.tasks.video.serve.predictor import Predictor
    from stages.training.inference import predict

    started, answered = time.perf_counter(), 0
    while time.perf_counter() - started < 2:
        answered += len(predict(network, clips, _BATCH))
    alone = answered / (time.perf_counter() - started)
    raw = row.work / "raw" / folder.name / CLIPS
    paths = [str(raw / clips.name(example)) for example in evenly(len(clips), _ASKED).tolist()]
    with tempfile.TemporaryDirectory() as weights:
        description = open_prepared(folder)[1]
        save_network(Path(weights), network, row.params.model, description, prepared=folder, training={})
        predictor = Predictor(Path(weights))
        predictor.predict(pd.DataFrame({"path": paths[:2]}))
        started = time.perf_counter()
        predictor.predict(pd.DataFrame({"path": paths}))
        from_files = len(paths) / (time.perf_counter() - started)
    return {"network_clips_a_second": alone, "clips_a_second": from_files}


def measure(row: Row) -> None:
    """Measure a row in this process; its file is there once it is whole."""
    started = time.perf_counter()
    figures = {PREPARE: prepared, LINEAR: linear, MOMENTS: linear}.get(row.learner, networks)(row)
    figures["took_seconds"] = time.perf_counter() - started
    row.file.parent.mkdir(parents=True, exist_ok=True)
    partial = row.file.with_suffix(".partial")
    partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    partial.replace(row.file)


def table(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Lines of Markdown."""
    for name, figures in found.items():
        if name.endswith(PREPARE):
            yield f"{name}: {figures['clips']} clips, {figures['groups']} groups, {figures['seconds']:.0f} s"
    yield ""
    head = ("row", "weights", "accuracy", "by seed", "a training", "of the processor", "network alone", "from files")
    yield table_row(head)
    yield table_row(["---"] * len(head))
    for name, figures in found.items():
        if name.endswith(PREPARE):
            continue
        low, high = figures["interval"]
        cells = [name, f"{figures['weights']:,}", f"{figures['accuracy']:.3f} [{low:.3f}, {high:.3f}]"]
        cells.append(", ".join(f"{value:.3f}" for value in figures["by_seed"]))
        if "training_seconds" in figures:
            cells += [f"{figures[key]:.0f} s" for key in ("training_seconds", "training_processor_seconds")]
            cells += [f"{figures[key]:,.1f} clips/s" for key in ("network_clips_a_second", "clips_a_second")]
        yield table_row(cells + ["–"] * (len(head) - len(cells)))


def main() -> None:
    """The command line."""
    parser = command.parser("video_quality", __doc__, host="ucf101")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--list", action="store_true", help="measure nothing")
    parser.add_argument("--here", action="store_true", help="measure the rows in this process")
    chosen = parser.parse_args()
    command.allowed(parser, chosen.rows, ROWS)
    work = chosen.work.resolve() / "video_quality"
    wanted = {f"{name.partition('/')[0]}/{PREPARE}" for name in chosen.rows} | set(chosen.rows) or set(ROWS)
    rows = [row_of(name, chosen.data.resolve(), work) for name in ROWS if name in wanted]
    for row in rows:
        if chosen.list:
            print(f"{row.name:20s} {row.file if row.file.is_file() else '–'}")
        elif chosen.here and row.name in chosen.rows:
            measure(row)
        elif not chosen.here and not row.file.is_file():
            print(f"{row.name}:", flush=True)
            # As the stages set it, and before torch loads; the benchmarks are about the CPU.
            environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "CUDA_VISIBLE_DEVICES": ""}
            options = ["--work", str(chosen.work.resolve()), "--data", str(chosen.data.resolve()), "--here", row.name]
            command_line = [sys.executable, "-m", "benchmarks.video_quality", *options]
            subprocess.run(command_line, cwd=data.REPOSITORY, env=environment, check=True)
    found = {row.name: json.loads(row.file.read_text(encoding="utf-8")) for row in rows if row.file.is_file()}
    if not chosen.here:
        print("\n".join(table(found)))
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What the networks of a finished `make repro` say of examples of the test split, for the picture of all tasks.

Examples are chosen by rule: the first of the split that fits a panel and is answered correctly, and of what the
generator draws the first of each class that `evaluate` measured, whether its judge recognised it or not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from flows.demo.strokes import Stroke, prefixes
from stages.data.prepared import open_prepared
from stages.models.weights import load_network
from stages.params import load
from stages.tasks.drawing.serve.predictor import Predictor as Generator
from stages.tasks.protocol import Task
from stages.tasks.sketch.data.strokes import strokes_of
from stages.tasks.sketch.serve.predictor import Predictor as SketchClassifier
from stages.tasks.translation.data.tokenizer import END, load_tokenizers
from stages.tasks.translation.model.network import Translator, build, make_batch
from stages.tasks.translation.params import ModelParams as TranslationParams
from stages.tasks.video.model.clips import ClipDataset
from stages.tasks.video.serve.predictor import Predictor as ClipClassifier

SKETCH, MARK = "fish", "<de>"  # the class that is drawn, the locale of the text
MOMENTS = 3  # at which the drawing is guessed
TEXT_LENGTH = range(20, 25)  # characters that fit the panel
HISTORY_DAYS = 42


@dataclass(frozen=True, slots=True)
class Guess:
    """A drawing as far as it has got, and what it is taken for."""

    strokes: list[Stroke]
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip and the probability of each class after each frame."""

    frames: np.ndarray  # (time, height, width)
    label: str
    beliefs: dict[str, list[float]]  # by class, a value a frame


@dataclass(frozen=True, slots=True)
class Alignment:
    """What was read and written, and how much of the attention each written token paid to each that was read."""

    read: list[str]
    written: list[str]
    weights: np.ndarray  # (written, read), rows sum to 1


@dataclass(frozen=True, slots=True)
class Fan:
    """The last days before an origin, the seven days after it as forecast and as they came."""

    history: list[tuple[date, float]]
    ahead: pd.DataFrame  # ds, predicted, q05, q95, actual


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawing that the generator made of a class, and what its judge took it for."""

    label: str
    strokes: list[Stroke]
    taken_for: str


def _folder(task: str) -> Path:
    return Task(task).paths.measured


def _predictions(task: str) -> pd.DataFrame:
    return pd.read_csv(Task(task).paths.evaluation / "predictions.csv", dtype={"id": str})


def guesses() -> list[Guess]:
    """A drawing of the test split after a third, two thirds and all of its points."""
    store, _ = open_prepared(Task("sketch").paths.prepared)
    answers = _predictions("sketch")
    right = answers[(answers["actual"] == SKETCH) & (answers["predicted"] == SKETCH) & (answers["probability"] > 0.9)]
    name = str(right["id"].iloc[0])
    row = int(np.flatnonzero(store.column("id") == name)[0])
    strokes = [stroke.T.tolist() for stroke in strokes_of(store.sequence("values", row))]
    seen = [part for _, part in prefixes(strokes, MOMENTS)]
    answered = SketchClassifier(_folder("sketch")).predict(pd.DataFrame({"drawing": seen}))
    return [
        Guess(part, label, float(probability))
        for part, label, probability in zip(seen, answered["label"], answered["probability"], strict=True)
    ]


def clip() -> Clip:
    """The first clip of the test split that is answered correctly."""
    clips = ClipDataset(Task("video").paths.prepared, "test", None, seed=0)
    answers = _predictions("video")
    first = int((answers["actual"] == answers["predicted"]).to_numpy().argmax())
    frames = clips.clip(first)
    predictor = ClipClassifier(_folder("video"))
    parts = [frames[:length] for length in range(1, len(frames) + 1)]
    beliefs: dict[str, list[float]] = {name: [] for name in clips.classes}
    with torch.inference_mode():
        for ((row,),) in zip(predictor.predict_batch(parts, predictor.options), strict=True):
            known = dict(zip(row["top5_labels"], row["top5_probabilities"], strict=True))
            for name, values in beliefs.items():
                values.append(float(known.get(name, 0.0)))
    return Clip(frames[..., 0], clips.classes[int(clips.labels[first])], beliefs)


def alignment() -> Alignment:
    """The attention of the translator over the first text of a locale that has a fitting length."""
    folder = _folder("translation")
    answers = _predictions("translation")
    fitting = answers["source"].str.len().isin([len(MARK) + 1 + length for length in TEXT_LENGTH])
    of_locale = answers["source"].str.startswith(MARK) & answers["source"].str.contains("[a-z]{3,}, ", regex=True)
    row = answers[fitting & of_locale & (answers["translation"] == answers["reference"])].iloc[0]
    network, data = load_network(folder, build, TranslationParams)
    assert isinstance(network, Translator)
    source, target = load_tokenizers(folder, data)
    read, written = source.encode(row["source"]), target.encode(row["translation"])
    batch = make_batch([np.array(read, dtype=np.int64)], [np.array(written, dtype=np.int64)])
    with torch.inference_mode():
        weights = network.alignments(batch)[0].numpy()
    return Alignment(list(source.pieces(read)), list(target.pieces([*written, END])), weights)


def fan() -> Fan:
    """The origin of the test year whose error is the median."""
    store, _ = open_prepared(Task("forecast").paths.prepared)
    answers = _predictions("forecast")
    horizon = int(answers["day_ahead"].max())
    errors = (answers["actual"] - answers["predicted"]).abs().to_numpy().reshape(-1, horizon).mean(axis=1)
    week = int(np.argsort(errors, kind="stable")[len(errors) // 2])
    ahead = answers.iloc[week * horizon : (week + 1) * horizon].reset_index(drop=True)
    ahead["ds"] = pd.to_datetime(ahead["ds"]).dt.date
    start, values = store.value("start", 0), store.sequence("values", 0)
    origin = (ahead["ds"].iloc[0] - start).days
    days = range(origin - HISTORY_DAYS, origin)
    return Fan([(start + timedelta(days=day), float(values[day])) for day in days], ahead)


def drawn() -> list[Drawn]:
    """The first drawing of each class that `evaluate` made, drawn again from its seed."""
    answers = _predictions("drawing").drop_duplicates("actual")
    settings: Any = load()["drawing"].evaluate
    frame = pd.DataFrame({"label": answers["actual"], "seed": answers["seed"].astype(int)})
    made = Generator(_folder("drawing")).predict(
        frame,
        temperature=settings.temperature,
        pen_temperature=settings.pen_temperature,
        max_points=settings.max_points,
    )
    rows: Sequence[tuple[str, str, str]] = list(
        zip(answers["actual"], made["drawing"], answers["predicted"], strict=True)
    )
    return [Drawn(label, json.loads(strokes), taken_for) for label, strokes, taken_for in rows]

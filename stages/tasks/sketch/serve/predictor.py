"""Answers for drawings, in any of Quick, Draw!'s forms, finished or not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ....models.classification import ranked
from ....models.weights import load_network
from ....serving.predictor import Item, Row
from ....serving.predictor import Predictor as BasePredictor
from ..data.ink import Ink, join
from ..data.reading import MAX_INPUT_POINTS, Collected, canonical_readings, collect
from ..model.features import features
from ..model.network import build, padded
from ..params import ModelParams

MAX_TEXT = 4 * 2**20  # characters of a drawing as JSON, as prepare allows bytes
BATCH_SIZE = 256  # drawings at a time


class Predictor(BasePredictor):
    """`drawing` is `[[xs, ys], …]`, or `[[xs, ys, ts], …]`, in any unit: as JSON text, nested lists or arrays.

    It takes the same way to its canonical form as the training data did. A drawing may have up to MAX_INPUT_POINTS
    points and, once simplified, as many as `prepare.max_points` allowed.
    """

    inputs: ClassVar[Mapping[str, str]] = {"drawing": "any"}
    outputs: ClassVar[Mapping[str, str]] = {
        "label": "string",
        "probability": "double",
        "top5_labels": "strings",
        "top5_probabilities": "doubles",
    }
    requirements: ClassVar[Sequence[str]] = ("numba", "pyarrow", "pydantic", "pyyaml", "safetensors")

    def __init__(self, folder: Path) -> None:
        self._network, description = load_network(folder, build, ModelParams)
        self._classes: list[str] = description["classes"]
        self._max_points: int = description["max_points"]

    def read(self, item: Item) -> np.ndarray:
        """The canonical steps `(time, 3)` of one drawing."""
        (found,) = self._steps([_ink(item)])
        if isinstance(found, ValueError):
            raise found
        return found

    def read_batch(self, items: Sequence[Item]) -> list[np.ndarray | ValueError]:
        """What `read` gives for each item, to the bit; drawings that are brought into their canonical form together
        take less time.
        """
        found: dict[int, np.ndarray | ValueError] = {}
        inks: dict[int, Ink] = {}  # by number of the item
        for number, item in enumerate(items):
            try:
                inks[number] = _ink(item)
            except ValueError as error:
                found[number] = error
        found |= dict(zip(inks, self._steps(list(inks.values())), strict=True))
        return [found[number] for number in range(len(items))]

    def _steps(self, inks: Sequence[Ink]) -> list[np.ndarray | ValueError]:
        """The canonical steps of each drawing, or what is wrong with it."""
        if not inks:
            return []
        readings = canonical_readings(Collected(join(inks), np.arange(len(inks))), max_points=self._max_points)
        good = dict(zip(readings.good.tolist(), readings.sequences(), strict=True))
        return [good[n] if n in good else ValueError(f"drawing: {readings.bad[n]}") for n in range(len(inks))]

    def predict_batch(self, examples: Sequence[np.ndarray], options: Mapping[str, Any]) -> list[list[Row]]:
        """One row a drawing; drawings of like length are answered together."""
        lengths = np.array([len(steps) for steps in examples])
        order = np.argsort(-lengths, kind="stable")
        rows: list[list[Row]] = [[] for _ in examples]
        for start in range(0, len(order), BATCH_SIZE):
            some = order[start : start + BATCH_SIZE]
            values = features(np.concatenate([examples[i] for i in some]), lengths[some], self._network.features)
            with torch.inference_mode():
                logits = self._network(padded(values, lengths[some]))
            for index, row in zip(some.tolist(), ranked(logits, self._classes), strict=True):
                rows[index] = [row]
        return rows


def _ink(item: Item) -> Ink:
    """One drawing as Ink. Raises ValueError where it is none."""
    collected = collect([plain(item.content["drawing"])])
    if collected.ink is None:
        raise ValueError(f"drawing: {collected.bad[0]}")
    return collected.ink


def plain(drawing: object) -> object:
    """JSON text, tuples and arrays as nested lists. Raises ValueError where the text is no JSON."""
    if isinstance(drawing, (str, bytes)):
        if len(drawing) > MAX_TEXT:
            raise ValueError(f"drawing: a text of {len(drawing)} characters; allowed: {MAX_TEXT}")
        try:
            return json.loads(drawing)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"drawing: not JSON: {error}; allowed is a list of strokes [[xs, ys], …]") from None
    if isinstance(drawing, float) and np.isnan(drawing):
        return None  # what pandas puts where there is nothing
    return _lists(drawing, depth=3)


def _lists(value: object, depth: int) -> object:
    """Three levels of lists, where a list may be a tuple or an array; what stands deeper is left as it is."""
    if isinstance(value, np.ndarray):
        value = list(value) if value.dtype.hasobject else value.tolist()
    if not isinstance(value, (list, tuple)):
        return value
    if depth > 1:
        return [_lists(part, depth - 1) for part in value]
    if len(value) > MAX_INPUT_POINTS:
        raise ValueError(f"drawing: a stroke of {len(value)} points; allowed: {MAX_INPUT_POINTS} in a drawing")
    return list(value)

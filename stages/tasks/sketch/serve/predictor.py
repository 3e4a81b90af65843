"""Answers for drawings, in any of Quick, Draw!'s forms, finished or not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from ....models.classification import ranked
from ....models.weights import load_network
from ....serving.predictor import Item, Row
from ....serving.predictor import Predictor as BasePredictor
from ..data.canonical import canonicalize
from ..data.parse import MAX_INPUT_POINTS, BadDrawing, Parsed, nested, parse
from ..model.network import batches, build
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
        (found,) = self.read_batch([item])
        if isinstance(found, ValueError):
            raise found
        return found

    def read_batch(self, items: Sequence[Item]) -> list[np.ndarray | ValueError]:
        """What `read` gives for each item, to the bit; together, drawings take less time."""
        parsed = parse((item.content["drawing"] for item in items), form=any_form)
        drawings = canonicalize(parsed, max_points=self._max_points).in_order()
        return [ValueError(f"drawing: {each}") if isinstance(each, ValueError) else each for each in drawings]

    def predict_batch(self, examples: Sequence[np.ndarray], options: Mapping[str, Any]) -> list[list[Row]]:
        """One row a drawing; drawings of like length are answered together."""
        rows: list[list[Row]] = [[] for _ in examples]
        for places, batch in batches(examples, self._network.features, BATCH_SIZE):
            with torch.inference_mode():
                logits = self._network(batch)
            for place, row in zip(places.tolist(), ranked(logits, self._classes), strict=True):
                rows[place] = [row]
        return rows


def any_form(drawing: object) -> Parsed:
    """A drawing as JSON text, or as nested lists, tuples or arrays. Raises BadDrawing."""
    if isinstance(drawing, (str, bytes)):
        if len(drawing) > MAX_TEXT:
            raise BadDrawing("text_too_long", f"a text of {len(drawing)} characters; allowed: {MAX_TEXT}")
        try:
            lists = json.loads(drawing)
        except (ValueError, RecursionError) as error:
            raise BadDrawing("not_json", f"not JSON: {error}; allowed: a list of strokes [[xs, ys], …]") from None
        return nested(lists)
    if drawing is pd.NA or (isinstance(drawing, float) and np.isnan(drawing)):
        return nested(None)  # what pandas puts where there is nothing
    return nested(_lists(drawing, depth=3))


def _lists(value: object, depth: int) -> object:
    """Three levels of lists, where a list may be a tuple or an array; what stands deeper is left as it is."""
    if isinstance(value, np.ndarray):
        value = list(value) if value.dtype.hasobject else value.tolist()
    if not isinstance(value, (list, tuple)):
        return value
    if depth > 1:
        return [_lists(part, depth - 1) for part in value]
    if len(value) > MAX_INPUT_POINTS:
        raise BadDrawing(
            "too_many_points", f"a stroke of {len(value)} points; allowed: {MAX_INPUT_POINTS} in a drawing"
        )
    return list(value)

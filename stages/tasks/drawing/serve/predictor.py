"""The registered generator: a class in, a drawing out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ....models.weights import load_network
from ....serving import predictor
from ....serving.predictor import Item, Row, as_number, shown
from ..model.draw import draw, strokes
from ..model.network import build
from ..params import MAX_TEMPERATURE, MOST_POINTS, PEN_TEMPERATURE, TEMPERATURE, ModelParams

MAX_SEED = 2**63 - 1
_SHOWN = 50  # labels that an error names


class Predictor(predictor.Predictor):
    """`drawing` is Quick, Draw!'s `[[xs, ys], …]` as JSON text, from 0 on, in about the size of 255 by 255.

    The same label, seed and temperature give the same drawing, whatever else stands in the frame.
    """

    inputs: ClassVar[Mapping[str, str]] = {"label": "string"}
    optional_inputs: ClassVar[Mapping[str, str]] = {
        "temperature": "any",
        "seed": "any",
    }  # a column with gaps has no type
    outputs: ClassVar[Mapping[str, str]] = {"drawing": "string", "points": "long"}
    options: ClassVar[Mapping[str, int | float | str]] = {
        "max_points": 250,
        "temperature": TEMPERATURE,  # of rows that name none
        "pen_temperature": PEN_TEMPERATURE,
    }
    requirements: ClassVar[Sequence[str]] = ("pyarrow", "pydantic", "pyyaml", "safetensors")

    def __init__(self, folder: Path) -> None:
        self._network, data = load_network(folder, build, ModelParams)
        self._classes: list[str] = data["classes"]
        names = {name: number for number, name in enumerate(self._classes)}
        self._numbers = {f"#{number + 1}": number for number in names.values()} | names

    def read(self, item: Item) -> tuple[int, int, float | None]:
        """Class number, seed and temperature of one row; None where it names no temperature."""
        return (
            self._class(item.content["label"]),
            int(_number("seed", item.content.get("seed"), 0, MAX_SEED, whole=True)),
            _number("temperature", item.content.get("temperature"), None, MAX_TEMPERATURE),
        )

    def predict_batch(
        self, examples: Sequence[tuple[int, int, float | None]], options: Mapping[str, Any]
    ) -> list[list[Row]]:
        """One row a drawing."""
        most = as_number(options["max_points"])
        if not isinstance(most, int | np.integer) or not 2 <= most <= MOST_POINTS:
            raise ValueError(
                f"max_points: found {shown(options['max_points'])}; allowed: a whole number from 2 to {MOST_POINTS}"
            )
        usual, pen = (
            float(_number(name, options[name], self.options[name], MAX_TEMPERATURE))
            for name in ("temperature", "pen_temperature")
        )
        classes, seeds, named = zip(*examples, strict=True)
        temperatures = [usual if temperature is None else float(temperature) for temperature in named]
        drawings = draw(self._network, classes, seeds, temperatures, pen_temperature=pen, max_points=int(most))
        return [[{"drawing": json.dumps(strokes(drawing)), "points": len(drawing)}] for drawing in drawings]

    def _class(self, label: object) -> int:
        """A label's number; `#1` is the first class, so that a caller need not know their names."""
        if not isinstance(label, str) or label not in self._numbers:
            known = ", ".join(self._classes[:_SHOWN]) + (", …" if len(self._classes) > _SHOWN else "")
            raise ValueError(f"label: found {shown(label)}; allowed: {known}, or #1 to #{len(self._classes)}")
        return self._numbers[label]


def _number(name: str, value: Any, default: Any, most: float, *, whole: bool = False) -> Any:
    """A number from 0 to `most`, or the default where there is none (None, NaN)."""
    found = as_number(value)
    if value is None or value is pd.NA or (isinstance(found, float | np.floating) and math.isnan(found)):
        return default
    if found is None or not 0 <= found <= most or (whole and found != int(found)):
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name}: found {shown(value)}; allowed: {kind} from 0 to {most:g}")
    return found

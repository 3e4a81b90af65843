"""What may stand under `drawing` in params.yaml. Its data are those of `sketch`, with its `source` and `prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from ... import params
from ...params import Block, Count, Dropout, Positive, TaskParams
from ..sketch.params import PointAugmentationParams, PrepareParams, SourceParams

# Where a caller of a predictor names none; a registered model has those that evaluate measured it with.
TEMPERATURE, PEN_TEMPERATURE = 0.6, 0.7
MOST_POINTS = 1000  # of one drawing of the registered model
MAX_TEMPERATURE = 2.0
Temperature = Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)]


class ModelParams(Block):
    """The network, and what it is shown in training."""

    kind: Literal["decoder_lstm"]
    hidden_size: Annotated[int, Field(ge=1, le=4096)]
    layers: Annotated[int, Field(ge=1, le=16)]
    mixtures: Annotated[int, Field(ge=1, le=100)]
    class_embedding: Annotated[int, Field(ge=1, le=4096)]
    dropout: Dropout
    stroke_order: Literal["drawn", "sorted"]
    augmentation: PointAugmentationParams


class EvaluateParams(params.EvaluateParams):
    """What is drawn and measured."""

    batch_size: Positive
    seed: Count
    samples_per_class: Positive
    temperature: Temperature
    pen_temperature: Temperature
    max_points: Annotated[int, Field(ge=2, le=MOST_POINTS)]
    shown_temperatures: Annotated[list[Temperature], Field(min_length=1, max_length=6)]


class Params(TaskParams):
    """The `drawing` block, with the two of `sketch` that its data come from."""

    source: SourceParams
    prepare: PrepareParams
    model: ModelParams
    evaluate: EvaluateParams

    def baselines(self) -> Mapping[str, str]:
        return {"unconditional": "unconditional"}

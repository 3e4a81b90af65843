"""What may stand under `sketch` in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ... import params
from ...params import (
    AdditionalParams,
    Block,
    Count,
    Dropout,
    Fraction,
    Positive,
    SplitShare,
    TaskParams,
    check_group,
    heads_divide,
)

# A category is a file's name, here and at the host: no separators, nothing that begins with a dot.
Category = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.'()-]{0,79}$")]

Feature = Literal["offset", "position", "pen", "speed", "direction", "stroke"]


class SourceParams(AdditionalParams):
    """Where drawings come from."""

    kind: Literal["sample", "quickdraw"]
    per_category: Count
    seed: Count
    url: str
    categories: dict[Category, Literal["simplified", "raw", "sketchrnn"]]

    @model_validator(mode="after")
    def _enough_to_tell_apart(self) -> Self:
        if self.kind == "sample" and not self.per_category:
            raise ValueError("per_category of at least 1 for the sample, which has no fixed size")
        if self.kind == "quickdraw" and len(self.categories) < 2:
            raise ValueError("at least 2 categories")
        if self.kind == "quickdraw" and self.also_test and "sketchrnn" in self.categories.values():
            raise ValueError("also_test false where a category is sketchrnn: its publisher holds out the test set")
        return self


class PrepareParams(params.PrepareParams):
    """Which drawings are taken, and how they are split."""

    seed: Count
    group: Annotated[str, AfterValidator(partial(check_group, field=r"\w+", field_words="a field's name"))]
    validation_share: SplitShare
    test_share: SplitShare
    max_points: Annotated[int, Field(ge=16, le=10_000)]
    unrecognized: Literal["keep", "drop"]
    other_word: Literal["keep", "reject"]


class PointAugmentationParams(Block):
    """How far a drawing's points are moved each time it is learned from, and how many are left out."""

    rotation: Annotated[float, Field(ge=0, le=180)]
    scale: Annotated[float, Field(ge=0, le=1)]
    shear: Annotated[float, Field(ge=0, le=1)]
    jitter: Annotated[float, Field(ge=0, le=32)]
    drop_points: Annotated[float, Field(ge=0, lt=1)]


class AugmentationParams(PointAugmentationParams):
    """What else is changed: the drawing as a whole, and its strokes."""

    mirror: Fraction
    never_mirrored: list[Category]
    break_off: Fraction
    drop_strokes: Annotated[float, Field(ge=0, lt=1)]
    reverse_strokes: Fraction
    shuffle_strokes: Fraction


class ModelParams(Block):
    """The network, and what it is shown in training."""

    kind: Literal["conv_lstm", "gru", "transformer"]
    features: Annotated[list[Feature], Field(min_length=1)]
    conv_channels: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=8)]
    conv_strides: Annotated[list[Annotated[int, Field(ge=1, le=4)]], Field(min_length=1, max_length=8)]
    kernel_size: Annotated[int, Field(ge=1, le=31)]
    cell: Literal["lstm", "gru", "rnn"]
    hidden_size: Annotated[int, Field(ge=1, le=4096)]
    layers: Annotated[int, Field(ge=1, le=16)]
    heads: Annotated[int, Field(ge=1, le=64)]
    dropout: Dropout
    recurrent_dropout: Dropout
    layer_norm: bool
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augmentation: AugmentationParams

    @model_validator(mode="after")
    def _one_stride_a_layer(self) -> Self:
        if len(self.conv_strides) != len(self.conv_channels):
            raise ValueError("as many conv_strides as conv_channels")
        if self.kernel_size % 2 == 0:
            raise ValueError("an odd kernel_size")
        if len(set(self.features)) < len(self.features):
            raise ValueError("each feature only once")
        heads_divide(self.kind, self.hidden_size, self.heads)
        return self


class JudgeParams(Block):
    """What may be chosen of the classifier that judges drawings: `model/judge.py` fixes the rest."""

    hidden_size: Annotated[int, Field(ge=1, le=4096)]
    dropout: Dropout
    seed: Count
    ranks: Positive
    threads: Positive
    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=10)]


class EvaluateParams(params.EvaluateParams):
    """How the evaluate stage goes about it."""

    batch_size: Positive
    pictures: Annotated[int, Field(ge=1, le=100)]


class Params(TaskParams):
    """The `sketch` block."""

    source: SourceParams
    prepare: PrepareParams
    model: ModelParams
    judge: JudgeParams
    evaluate: EvaluateParams

    def baselines(self) -> Mapping[str, str]:
        return {"majority": "majority", "linear": "linear"}

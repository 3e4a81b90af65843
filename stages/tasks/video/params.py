"""What may stand under `video` in params.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ...params import Block, Count, Dropout, Fraction, Positive, TaskParams

Name = Annotated[str, Field(pattern=r"^[^/\\]+$")]


class SourceParams(Block):
    kind: Literal["sample", "ucf101", "folder"]
    url: str
    classes: list[Name]
    clips_per_class: Annotated[int, Field(ge=10, le=1000)]
    seed: Count
    max_gigabytes: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _has_address(self) -> SourceParams:
        if self.kind == "folder" and not self.url:
            raise ValueError("an address in source.url where source.kind is folder")
        return self


class PrepareParams(Block):
    size: Annotated[int, Field(ge=16, le=512)]
    color: Literal["gray", "rgb"]
    frames: Annotated[int, Field(ge=2, le=1000)]
    min_frames: Annotated[int, Field(ge=2)]
    max_decoded_frames: Positive
    max_megapixels: Annotated[float, Field(gt=0, le=1000)]
    max_seconds: Annotated[float, Field(gt=0)]
    split: Literal["group", "ucf101_1", "ucf101_2", "ucf101_3"]
    group_pattern: str
    validation_share: Annotated[float, Field(gt=0, lt=0.5)]
    test_share: Annotated[float, Field(gt=0, lt=0.5)]
    seed: Count
    max_rejected_share: Fraction

    @field_validator("group_pattern")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"a regular expression; this one has an error: {error}") from None
        if groups != 1:
            raise ValueError(f"a regular expression with one pair of parentheses; this one has {groups}")
        return pattern


class ModelParams(Block):
    kind: Literal["cnn_lstm"]
    channels: Annotated[list[Annotated[int, Field(ge=8, multiple_of=8)]], Field(min_length=1, max_length=6)]
    features: Positive
    frame_changes: bool
    cell: Literal["lstm", "gru", "rnn"]
    hidden_size: Positive
    layers: Positive
    bidirectional: bool
    pooling: Literal["last", "mean", "max"]
    dropout: Dropout
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augment_shift: Annotated[float, Field(ge=0, le=0.5)]
    augment_brightness: Annotated[float, Field(ge=0, lt=1)]
    augment_flip: bool

    @model_validator(mode="after")
    def _last_step_has_read_all(self) -> ModelParams:
        if self.bidirectional and self.pooling == "last":
            raise ValueError("pooling mean or max where bidirectional is true: at the last step, the backward direction has read one frame")
        return self


class EvaluateParams(Block):
    seed: Count
    pictures: Annotated[int, Field(ge=1, le=50)]
    single_frames_per_clip: Positive


class Params(TaskParams):
    source: SourceParams
    prepare: PrepareParams
    model: ModelParams
    evaluate: EvaluateParams

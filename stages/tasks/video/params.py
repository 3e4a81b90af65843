"""What may stand under `video` in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ... import params
from ...params import AdditionalParams, Block, Count, Dropout, Positive, TaskParams, check_group, heads_divide

# A class is a folder's name, here and at the host: no separators, nothing that begins with a dot.
Class = Annotated[str, Field(pattern=r"^[^./\\][^/\\]{0,99}$")]
Share = Annotated[float, Field(gt=0, lt=0.5)]
_ENCODED_SIDE = (
    224  # pixels of the frames that the encoder reads; ENCODED_SIDE of data/columns.py, which imports nothing from here
)


class SourceParams(AdditionalParams):
    """Where clips come from."""

    kind: Literal["sample", "ucf101", "folder"]
    url: str
    classes: list[Class]
    clips_per_class: Annotated[int, Field(ge=10, le=1000)]
    seed: Count
    max_gigabytes: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.kind == "folder" and not self.url:
            raise ValueError("an address in url where kind is folder")
        return self


class PrepareParams(params.PrepareParams):
    """What is kept of a clip, what decoding it may cost, and how clips are split."""

    size: Annotated[int, Field(ge=16, le=512)]
    color: Literal["gray", "rgb"]
    encoder: Literal["none", "efficientnet_lite0"]
    frozen: bool
    weights: Annotated[str, Field(pattern="^$|^[a-z0-9+]+://.")]  # of these a card shows the host alone
    weights_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]
    mirrored: bool
    frames: Annotated[int, Field(ge=2, le=1000)]
    min_frames: Annotated[int, Field(ge=2)]
    max_decoded_frames: Positive
    max_megapixels: Annotated[float, Field(gt=0, le=1000)]
    max_seconds: Annotated[float, Field(gt=0)]
    split: Literal["group", "ucf101_1", "ucf101_2", "ucf101_3"]
    group: Annotated[str, AfterValidator(check_group)]
    validation_share: Share
    test_share: Share
    seed: Count

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.min_frames > self.max_decoded_frames:
            raise ValueError("min_frames of at most max_decoded_frames; with more, every clip is rejected")
        if bool(self.weights) != bool(self.weights_sha256):
            raise ValueError("weights and weights_sha256 both, or both empty")
        if self.encoder == "none" and self.weights:
            raise ValueError(f"weights empty where encoder is none; found {self.weights}")
        if self.encoder == "none" and not self.frozen:
            raise ValueError("frozen true where encoder is none: there are no pretrained weights")
        if self.encoder != "none" and self.color != "rgb":
            raise ValueError(f"color rgb where encoder is {self.encoder}; found {self.color}")
        if self.mirrored and not self.encoded:
            raise ValueError("mirrored false where no features are stored: frames are mirrored as they are read")
        if self.encoded and _ENCODED_SIDE % self.size:
            raise ValueError(f"a size that divides {_ENCODED_SIDE} where encoder is {self.encoder}; found {self.size}")
        return self

    @property
    def encoded(self) -> bool:
        """Whether features of the frames are stored, for networks to learn from."""
        return self.encoder != "none" and self.frozen


class AugmentationParams(Block):
    """How far a clip is changed each time it is learned from, alike in all its frames, and which of them are shown."""

    shift: Annotated[float, Field(ge=0, le=0.5)]
    crop: Annotated[float, Field(ge=0, lt=1)]
    brightness: Annotated[float, Field(ge=0, lt=1)]
    color: Annotated[float, Field(ge=0, le=1)]
    flip: bool
    speed: Annotated[float, Field(ge=0, le=0.5)]
    stride: Annotated[int, Field(ge=1, le=16)]
    jitter: Annotated[float, Field(ge=0, le=16)]


class ModelParams(Block):
    """The network, and what it is shown in training."""

    kind: Literal["cnn_lstm", "cnn3d_rnn", "conv_lstm", "cnn3d", "transformer"]
    channels: Annotated[list[Annotated[int, Field(ge=8, multiple_of=8)]], Field(min_length=1, max_length=6)]
    temporal_strides: Annotated[list[Annotated[int, Field(ge=1, le=4)]], Field(min_length=1, max_length=6)]
    encoder_rate: Annotated[float, Field(gt=0, le=1)]
    features: Positive
    frame_changes: bool
    moments: bool
    cell: Literal["lstm", "gru", "rnn"]
    hidden_size: Positive
    layers: Positive
    heads: Positive
    bidirectional: bool
    pooling: Literal["last", "mean", "max", "attention", "statistics"]
    dropout: Dropout
    recurrent_dropout: Dropout
    layer_norm: bool
    truncation: Count
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augmentation: AugmentationParams

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.temporal_strides) != len(self.channels):
            raise ValueError("as many temporal_strides as channels")
        heads_divide(self.kind, self.hidden_size, self.heads)
        if self.bidirectional and self.pooling == "last":
            raise ValueError(
                "another pooling than last where bidirectional is true; the last step has read one frame backwards"
            )
        if self.bidirectional and self.truncation:
            raise ValueError(f"truncation 0 where bidirectional is true; found {self.truncation}")
        return self


class EvaluateParams(params.EvaluateParams):
    """What is measured beside the network, and how much is shown."""

    seed: Count
    pictures: Annotated[int, Field(ge=1, le=50)]
    baselines: list[Literal["frame", "moments"]]
    single_frames_per_clip: Positive


class Params(TaskParams):
    """The seven blocks of `video`."""

    source: SourceParams
    prepare: PrepareParams
    model: ModelParams
    evaluate: EvaluateParams

    def baselines(self) -> Mapping[str, str]:
        metrics = {"frame": "single_frame", "moments": "moments"}
        return {"majority": "majority"} | {name: metrics[name] for name in self.evaluate.baselines}

    @model_validator(mode="after")
    def _model_reads_features(self) -> Self:
        encoder, changes = self.prepare.encoder, self.model.augmentation
        if self.source.also_test and self.prepare.split != "group":
            raise ValueError(f"source.also_test false where prepare.split is {self.prepare.split}, an official split")
        if encoder != "none" and self.model.kind not in ("cnn_lstm", "transformer"):
            raise ValueError(
                f"model.kind cnn_lstm or transformer where prepare.encoder is {encoder}: its features leave no "
                f"places to convolve over; found {self.model.kind}"
            )
        if self.model.moments and not self.prepare.encoded:
            raise ValueError("model.moments false where no features are stored: moments are computed from features")
        if self.prepare.encoded and (changes.shift or changes.crop or changes.brightness or changes.color):
            raise ValueError(
                f"model.augmentation with shift, crop, brightness and color 0 where prepare.encoder is {encoder} and "
                f"frozen: features cannot be changed as frames can"
            )
        if self.prepare.encoded and changes.flip and not self.prepare.mirrored:
            raise ValueError("prepare.mirrored true where features are read and model.augmentation.flip is true")
        return self

"""The video classifier: an encoder of frames or clips, layers over time, pooling, logits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, nn

from ....data.store import Split
from ....models.batch import Batch, Dataset
from ....models.classification import Classifier, classification_losses
from ....models.convolution import PictureEncoder
from ....models.learned import Identities, Learned, ids_of, learned_ids
from ....models.recurrent import RecurrentStack
from ....models.transformer import TransformerStack
from ..data.columns import ENCODER_NAME, FEATURE_SIZE
from ..params import ModelParams, Params
from .clips import ClipDataset
from .encoders import Conv3dEncoder, ConvLSTMEncoder, FeatureReader, PretrainedEncoder, normalize_frames
from .pooling import FeatureMoments, TimePooling

Encoder = PictureEncoder | Conv3dEncoder | ConvLSTMEncoder | FeatureReader | PretrainedEncoder
Pretrained = Literal["frozen", "tuned"] | None  # how the preprocess stage's encoder is used, where it brings one

# Frames that are read together before self-attention. On the sample 5 reach 1.00 on the validation split, and 1 reaches
# 0.86 to 0.89 after any number of epochs: clockwise and counterclockwise differ by the order of neighbours.
_CONTEXT = 5


class ClipClassifier(Classifier):
    """Encoder, layers over time, pooling over time → logits. `kind` names what comes before the pooling:

    `cnn_lstm`: a CNN over each frame, then recurrent layers of the cell that `cell` names;
    `transformer`: the same CNN, a convolution over neighbouring frames, self-attention over all;
    `cnn3d`: a 3D CNN alone, which sees as far along the clip as its layers reach;
    `cnn3d_rnn`: recurrent layers over the outputs of the 3D CNN;
    `conv_lstm`: recurrent layers whose state is a map of places, over the maps of the frame CNN.

    With `frame_changes` the CNN sees beside each frame what changed since the one before: it forgets places when it
    takes means over them, and a change keeps the direction of a motion.

    Over stored features (`pretrained` frozen) `cnn_lstm` and `transformer` have no CNN and, with `moments`, they add to
    what a logistic regression on the features' moments over the clip says. Tuned, the pretrained encoder is their CNN.

    A clip's logits depend neither on its batch nor on the padding.
    """

    def __init__(self, params: ModelParams, channels: int, classes: int, *, pretrained: Pretrained = None) -> None:
        super().__init__(label_smoothing=params.label_smoothing)
        self._encoder_rate = params.encoder_rate
        self.frame_changes = params.frame_changes
        self._pretrained = pretrained
        self.encoder = _encoder(params, channels, pretrained)
        self.recurrent = _layers(params)  # or what stands in its place: weights are stored by this name
        self.dropout = nn.Dropout(params.dropout)
        size = params.features if self.recurrent is None else self.recurrent.output_size
        self.pooling = TimePooling(params.pooling, size)
        self.output = nn.Linear(self.pooling.output_size, classes)
        self.moments = FeatureMoments(FEATURE_SIZE, classes) if params.moments else None

    def logits(self, batch: Batch) -> Tensor:
        """A batch of frames `(batch, time, height, width, channels)` uint8, or of their features `(batch, time, 3008)`
        float16, to `(batch, classes)` logits.
        """
        logits = self._in_order(batch)
        return logits if self.moments is None else logits + self.moments(batch.values, batch.lengths)

    def _in_order(self, batch: Batch) -> Tensor:
        """What the layers over time answer by themselves."""
        values, lengths = batch.values, batch.lengths
        if self._pretrained is None:
            values = normalize_frames(values, frame_changes=self.frame_changes)
        if isinstance(self.encoder, PictureEncoder):
            features = self.encoder(values.flatten(0, 1)).unflatten(0, values.shape[:2])
        else:
            features, lengths = self.encoder(values, lengths)
        if self.recurrent is not None:
            features = self.recurrent(self.dropout(features), lengths)
        logits: Tensor = self.output(self.dropout(self.pooling(features, lengths)))
        return logits

    def load_pretrained(self, prepared: Path) -> None:
        """Load the weights of a pretrained encoder that is tuned."""
        if isinstance(self.encoder, PretrainedEncoder):
            self.encoder.pretrained.load_state_dict(load_file(prepared / ENCODER_NAME))

    def fit_without_gradients(self, train: Dataset) -> None:
        """Fit the regression of moments, where params ask for one."""
        if self.moments is not None:
            self.moments.fit(train.batch(np.array([example])) for example in range(len(train)))

    def lr_multiplier(self, name: str) -> float:
        """Less for the pretrained encoder (Howard and Ruder, "Universal Language Model Fine-tuning for Text
        Classification", 2018, section 3.2).
        """
        return self._encoder_rate if name.startswith("encoder.pretrained.") else 1.0

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        """The sums of cross-entropy and of right answers, with the number of clips.

        In training, of what the layers over time answer by themselves: the moments' regression, which is sure of every
        training clip, would leave them nothing to learn but to contradict it.
        """
        assert batch.targets is not None
        logits = self._in_order(batch) if self.training else self(batch)
        smoothing = self.label_smoothing if self.training else 0.0
        return classification_losses(logits, batch.targets, label_smoothing=smoothing)


def _encoder(params: ModelParams, channels: int, pretrained: Pretrained) -> Encoder:
    """From stored features, or frames of so many `channels`, to `features` numbers at each time."""
    if pretrained == "frozen":
        return FeatureReader(FEATURE_SIZE, params.features, frame_changes=params.frame_changes)
    if pretrained == "tuned":
        return PretrainedEncoder(params.features, frame_changes=params.frame_changes)
    channels *= 2 if params.frame_changes else 1
    if params.kind in ("cnn3d", "cnn3d_rnn"):
        return Conv3dEncoder(channels, params.channels, params.features, temporal_strides=params.temporal_strides)
    if params.kind == "conv_lstm":
        return ConvLSTMEncoder(
            channels, params.channels, params.features, hidden_channels=params.hidden_size, layers=params.layers
        )
    return PictureEncoder(channels, params.channels, params.features)


def _layers(params: ModelParams) -> RecurrentStack | TransformerStack | None:
    """The layers over time; None where the encoder has read along the clip."""
    if params.kind in ("cnn3d", "conv_lstm"):
        return None
    if params.kind == "transformer":
        return TransformerStack(
            params.features,
            params.hidden_size,
            layers=params.layers,
            heads=params.heads,
            dropout=params.dropout,
            context=_CONTEXT,
        )
    return RecurrentStack(
        params.features,
        params.hidden_size,
        layers=params.layers,
        cell=params.cell,
        bidirectional=params.bidirectional,
        dropout=params.dropout,
        recurrent_dropout=params.recurrent_dropout,
        layer_norm=params.layer_norm,
        truncation=params.truncation,
    )


def build(params: ModelParams, data: Mapping[str, Any]) -> ClipClassifier:
    """A network with fresh weights for the classes and the frames, or features, of `description.json`."""
    encoder = data.get("encoder")
    pretrained: Pretrained = None if encoder is None else "frozen" if encoder["frozen"] else "tuned"
    return ClipClassifier(params, data["decoding"]["channels"], len(data["classes"]), pretrained=pretrained)


def dataset(folder: Path, split: Split, params: Params, *, augment: bool) -> ClipDataset:
    """The clips of a split, or of several, of the prepared data in `folder`."""
    return ClipDataset(folder, split, params.model.augmentation if augment else None, seed=params.train.seed)


def learned(folder: Path, split: Split) -> Learned:
    """The clips that a network is trained and chosen by."""
    return learned_ids(folder, split)


def identities(folder: Path, rows: np.ndarray) -> Identities:
    """Some rows of the store, by their ids."""
    return ids_of(folder, rows)

"""Networks that read stored features: nothing but a clip's own reaches its answer, and params that fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from stages.models.batch import Batch, pad
from stages.tasks.video import params as video_params
from stages.tasks.video.data.columns import ENCODED_SIDE, ENCODER_NAME, FEATURE_SIZE
from stages.tasks.video.model.augment import augmented_features
from stages.tasks.video.model.network import ClipClassifier, build
from stages.tasks.video.model.pooling import FeatureMoments
from stages.tasks.video.params import AugmentationParams, ModelParams, Params, PrepareParams
from tests.unit import test_video_model, test_video_prepare
from tests.unit.test_video_model import DATA, MODEL, STILL

ENCODED = {**DATA, "encoder": {"name": "efficientnet_lite0", "frozen": True}, "assets": [ENCODER_NAME]}
MODEL_OF_FEATURES = {**MODEL, "augmentation": {**STILL, "flip": True}}
ENCODING = {"color": "rgb", "encoder": "efficientnet_lite0", "mirrored": True}
PREPARE = {**test_video_prepare.PARAMS, **ENCODING}
PARAMS = {
    **test_video_model.PARAMS,
    "prepare": {**test_video_model.PARAMS["prepare"], **ENCODING},
    "model": MODEL_OF_FEATURES,
}
KINDS = [
    {"kind": "cnn_lstm"},
    {"kind": "cnn_lstm", "frame_changes": False, "bidirectional": True, "pooling": "attention"},
    {"kind": "transformer", "pooling": "mean", "moments": True},
]
every_kind = pytest.mark.parametrize("changes", KINDS, ids=str)


def network_of(changes: dict[str, Any]) -> ClipClassifier:
    torch.manual_seed(0)
    return build(ModelParams.model_validate({**MODEL_OF_FEATURES, **changes}), ENCODED)


def features_of(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.random((length, FEATURE_SIZE)).astype(np.float16) for length in lengths]


def batch_of(clips: list[np.ndarray]) -> Batch:
    values, lengths = pad(clips)
    return Batch(values=values, lengths=lengths, targets=torch.zeros(len(clips), dtype=torch.int64))


@every_kind
def test_a_clip_gets_the_answer_from_its_own_features_in_their_order(changes: dict[str, Any]) -> None:
    network = network_of(changes).eval()
    clips = features_of(2, 11, 5)
    with torch.inference_mode():
        together = network(batch_of(clips))
        for row, clip in zip(together, clips, strict=True):
            assert torch.allclose(network(batch_of([clip]))[0], row, atol=1e-5)
        backwards = network(batch_of([clips[1][::-1].copy()]))[0]
    assert (together[1] - backwards).abs().max() > 1e-5


def test_moments_are_scikit_learns_logistic_regression_and_training_leaves_them_as_they_are() -> None:
    generator = np.random.default_rng(1)
    labels = np.arange(24) % 3
    clips = [(generator.normal(size=(9, 20)) + 0.2 * label).astype(np.float32) for label in labels]
    moments = FeatureMoments(20, 3)
    batch = replace(batch_of(clips), targets=torch.from_numpy(labels))
    moments.fit([batch])
    values = np.stack([np.concatenate([clip.mean(axis=0), clip.std(axis=0)]) for clip in clips])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8, max_iter=10000))
    expected = classifier.fit(values, labels).predict_log_proba(values)
    found = moments(batch.values, batch.lengths).log_softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert not [weight for weight in moments.parameters() if weight.requires_grad]


def test_moments_of_features_know_no_order_and_no_padding_and_begin_at_nothing() -> None:
    moments = FeatureMoments(FEATURE_SIZE, 3)
    clips = features_of(2, 11, 5)
    batch = batch_of(clips)
    assert not moments(batch.values, batch.lengths).any()
    moments.fit([replace(batch, targets=torch.arange(3))])
    nn.init.normal_(moments.output.weight)
    together = moments(batch.values, batch.lengths)
    for row, clip in zip(together, clips, strict=True):
        alone = batch_of([clip[::-1].copy()])
        assert torch.allclose(moments(alone.values, alone.lengths)[0], row, atol=1e-2)


def test_the_layers_over_time_learn_by_themselves_and_answer_with_the_moments() -> None:
    network, batch = network_of({"dropout": 0.0, "moments": True}), batch_of(features_of(2, 11, 5))
    assert network.moments is not None
    alone, measured = (network.train(training).losses(batch)["loss"][0].item() for training in (True, False))
    nn.init.normal_(network.moments.output.weight)
    assert network.train().losses(batch)["loss"][0].item() == alone
    assert network.eval().losses(batch)["loss"][0].item() != pytest.approx(measured)
    with torch.inference_mode():
        together = network(batch)
        nn.init.zeros_(network.moments.output.weight)
        moments = together - network(batch)
    assert moments.abs().max() > 1e-3


@every_kind
def test_the_gradient_reaches_all_weights(changes: dict[str, Any]) -> None:
    network = network_of(changes).train()
    network.losses(batch_of(features_of(7)))["loss"][0].backward()
    learning = {name: weight for name, weight in network.named_parameters() if not name.startswith("moments.")}
    assert not [name for name, weight in learning.items() if weight.grad is None or not weight.grad.any()]


def test_a_mirrored_clip_has_its_mirrored_features_and_the_same_frames() -> None:
    params = AugmentationParams.model_validate({**STILL, "flip": True, "stride": 3})
    time = np.arange(20.0)[:, None]
    examples = np.arange(60)
    shown = augmented_features([(time, -time - 1)] * 60, params, examples, seed=1, epoch=2)
    mirrored = [bool((clip < 0).any()) for clip in shown]
    assert all((clip < 0).all() == flipped for clip, flipped in zip(shown, mirrored, strict=True))
    assert 15 < sum(mirrored) < 45
    still = params.model_copy(update={"flip": False})
    plain = augmented_features([(time, -time - 1)] * 60, still, examples, seed=1, epoch=2)
    for clip, flipped, unflipped in zip(shown, mirrored, plain, strict=True):
        assert np.array_equal(-clip - 1 if flipped else clip, unflipped)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"color": "gray"}, "color rgb where encoder is efficientnet_lite0; found gray"),
        ({"size": 40}, "a size that divides 224 where encoder is efficientnet_lite0; found 40"),
        ({"weights": "/home/a.safetensors"}, "pattern"),
        ({"weights": "file:///a"}, "weights and weights_sha256 both"),
        ({"weights": "file:///a", "weights_sha256": "0"}, "pattern"),
        (
            {"encoder": "none", "weights": "file:///a", "weights_sha256": 64 * "0"},
            "weights empty where encoder is none",
        ),
        ({"encoder": "none"}, "mirrored false where no features are stored"),
        ({"frozen": False}, "mirrored false where no features are stored"),
        ({"encoder": "none", "mirrored": False, "frozen": False}, "frozen true where encoder is none"),
        ({"encoder": "resnet"}, "'efficientnet_lite0'"),
    ],
)
def test_frames_that_cannot_be_encoded_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PrepareParams.model_validate({**PREPARE, **changes})


@pytest.mark.parametrize(
    ("block", "changes", "message"),
    [
        ("model", {"kind": "cnn3d"}, "kind cnn_lstm or transformer .* found cnn3d"),
        ("model", {"augmentation": {**STILL, "shift": 0.1}}, "with shift, crop, brightness and color 0"),
        ("prepare", {"mirrored": False}, "prepare.mirrored true where"),
    ],
)
def test_a_network_that_cannot_read_features_is_refused(block: str, changes: dict[str, Any], message: str) -> None:
    Params.model_validate(PARAMS)
    with pytest.raises(ValidationError, match=message):
        Params.model_validate({**PARAMS, block: {**PARAMS[block], **changes}})


def test_moments_are_those_of_stored_features() -> None:
    with_moments = {**PARAMS, "model": {**PARAMS["model"], "moments": True}}
    Params.model_validate(with_moments)
    with pytest.raises(ValidationError, match="model.moments false where no features are stored"):
        Params.model_validate({**with_moments, "prepare": {**PARAMS["prepare"], "frozen": False, "mirrored": False}})


def test_the_schema_knows_the_side_that_is_encoded() -> None:
    assert video_params._ENCODED_SIDE == ENCODED_SIDE

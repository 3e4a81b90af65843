"""The network sees a drawing and nothing beside it, and augmentation keeps what a drawing is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.models.batch import Batch
from stages.preprocessing.preparation import Preparation
from stages.tasks.sketch.model.augment import augment
from stages.tasks.sketch.model.features import COLUMNS as FEATURES
from stages.tasks.sketch.model.features import Feature, columns, features
from stages.tasks.sketch.model.network import MaskedConv, SketchClassifier, SketchDataset, build, padded
from stages.tasks.sketch.params import AugmentationParams, ModelParams
from stages.tasks.sketch.prepare.prepare import COLUMNS

STILL: dict[str, Any] = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "jitter": 0.0, "mirror": 0.0}
STILL |= {"never_mirrored": [], "break_off": 0.0, "drop_points": 0.0}
STILL |= {"drop_strokes": 0.0, "reverse_strokes": 0.0, "shuffle_strokes": 0.0}
LIVELY: dict[str, Any] = {"rotation": 20.0, "scale": 0.2, "shear": 0.2, "jitter": 2.0, "mirror": 0.5}
LIVELY |= {"never_mirrored": [], "break_off": 0.3, "drop_points": 0.2}
LIVELY |= {"drop_strokes": 0.3, "reverse_strokes": 0.5, "shuffle_strokes": 0.5}


def model_params(**changes: Any) -> ModelParams:
    block: dict[str, Any] = {
        "kind": "conv_lstm",
        "features": ["offset", "position", "pen"],
        "conv_channels": [8, 12],
        "conv_strides": [1, 2],
        "kernel_size": 5,
        "cell": "lstm",
        "hidden_size": 6,
        "layers": 2,
        "heads": 2,
        "dropout": 0.2,
        "recurrent_dropout": 0.0,
        "layer_norm": False,
        "label_smoothing": 0.1,
        "augmentation": STILL,
    }
    return ModelParams.model_validate({**block, **changes})


def drawings(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random canonical steps of different lengths, some with one stroke and some with many."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(2, 40, count)
    steps = generator.integers(0, 256, (int(lengths.sum()), 3)).astype(np.uint8)
    steps[:, 2] = generator.random(len(steps)) < 0.2
    steps[np.cumsum(lengths) - 1, 2] = 1
    return steps, lengths


def change(
    numbers: dict[str, Any], steps: np.ndarray, lengths: np.ndarray, **where: Any
) -> tuple[np.ndarray, np.ndarray]:
    at: dict[str, Any] = {
        "mirrored": np.full(len(lengths), True),
        "seed": 5,
        "epoch": 2,
        "examples": np.arange(len(lengths)),
        **where,
    }
    return augment(steps, lengths, AugmentationParams.model_validate(numbers), **at)


CHOSEN: tuple[Feature, ...] = ("offset", "position", "pen")
ALL = tuple(FEATURES)
KINDS: list[dict[str, Any]] = [
    *({"kind": "conv_lstm", "cell": cell, "conv_strides": [1, 2]} for cell in ("lstm", "gru", "rnn")),
    *({"kind": "conv_lstm", "conv_strides": strides} for strides in ([1, 1], [2, 2], [3, 4])),
    {"kind": "gru"},
    {"kind": "gru", "layer_norm": True, "features": list(ALL)},
    {"kind": "transformer"},
]


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_padding_changes_no_logit(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = build(model_params(**changes), {"classes": ["a", "b", "c"]}).eval()
    steps, lengths = drawings(9)
    batch = padded(features(steps, lengths, network.features), lengths)
    longer = torch.full((9, batch.values.shape[1] + 17, batch.values.shape[2]), 3.0)  # padding need not even be zero
    longer[:, : batch.values.shape[1]] = torch.where(batch.mask[:, :, None], batch.values, 3.0)
    with torch.inference_mode():
        together = network(batch)
        padded_more = network(Batch(values=longer, lengths=batch.lengths))
        alone = [
            network(padded(features(s, n, network.features), n))
            for s, n in ((s, np.array([len(s)])) for s in split(steps, lengths))
        ]
    if changes["kind"] == "conv_lstm":
        assert torch.equal(together, padded_more)
    # To the bit where the kernels let it: a matrix of another shape may be multiplied by another one.
    assert (together - padded_more).abs().max() < 1e-6
    assert (together - torch.cat(alone)).abs().max() < 1e-5


def split(steps: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(steps, np.cumsum(lengths)[:-1])


def test_a_convolution_sees_zeros_after_each_sequences_end() -> None:
    convolution = MaskedConv(1, 4, 3, stride=2)
    values, lengths = torch.ones(2, 6, 1), torch.tensor([6, 3])
    outputs, shorter = convolution(values, lengths)
    assert shorter.tolist() == [3, 2]
    assert outputs.shape == (2, 3, 4)
    alone, _ = convolution(values[1:, :3], lengths[1:])
    assert torch.allclose(outputs[1:, :2], alone, atol=1e-6)


def test_the_order_of_a_drawings_steps_matters() -> None:
    torch.manual_seed(0)
    network = build(model_params(), {"classes": ["a", "b"]}).eval()
    steps, lengths = drawings(1, seed=3)
    with torch.inference_mode():
        there = network(padded(features(steps, lengths, CHOSEN), lengths))
        back = network(padded(features(steps[::-1].copy(), lengths, CHOSEN), lengths))
    assert (there - back).abs().max() > 1e-3


def test_label_smoothing_is_for_training_alone() -> None:
    torch.manual_seed(0)
    network: SketchClassifier = build(model_params(dropout=0.0, label_smoothing=0.5), {"classes": ["a", "b"]})
    steps, lengths = drawings(4)
    batch = padded(features(steps, lengths, CHOSEN), lengths, torch.tensor([0, 1, 0, 1]))
    logits = network(batch)
    plain = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1]), reduction="sum")
    assert not torch.isclose(network.train().losses(batch)["loss"][0], plain)
    assert torch.isclose(network.eval().losses(batch)["loss"][0], plain)


def test_features_of_two_strokes_worked_out_by_hand() -> None:
    steps = np.array([[0, 0, 0], [200, 0, 1], [200, 100, 0], [100, 100, 1]], dtype=np.uint8)
    found = features(steps, np.array([4]), CHOSEN)
    # The box is 200 by 100: its middle is (100, 50) and half its longer side 100. Offsets count 4 such halves.
    assert found.tolist() == [
        [0, 0, -1, -0.5, 1, 0],
        [8, 0, 1, -0.5, 0, 1],
        [0, 4, 1, 0.5, 1, 0],
        [-4, 0, 0, 0.5, 0, 1],
    ]


def test_speed_direction_and_stroke_worked_out_by_hand() -> None:
    steps = np.array([[0, 0, 0], [200, 0, 1], [200, 100, 0], [100, 0, 0], [100, 0, 1]], dtype=np.uint8)
    steps = np.concatenate([steps, steps[:2]])  # a second drawing, whose strokes count anew
    found = features(steps, np.array([5, 2]), ("speed", "direction", "stroke"))
    assert columns(("speed", "direction", "stroke")) == ("speed", "cosine", "sine", "stroke")
    expected: list[list[float]] = [
        [0, 0, 0, 0],
        [8, 1, 0, 0],
        [4, 0, 1, 0.1],
        [np.hypot(4, 4), -np.sqrt(0.5), -np.sqrt(0.5), 0.1],
        [0, 0, 0, 0.1],  # where the pen stands still, it has no direction
        [0, 0, 0, 0],
        [8, 1, 0, 0],
    ]
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("chosen", [("pen", "offset"), ("stroke",), ALL])
def test_features_come_in_the_order_asked_for(chosen: tuple[Any, ...]) -> None:
    steps, lengths = drawings(5)
    whole = dict(zip(columns(ALL), features(steps, lengths, ALL).T, strict=True))
    found = features(steps, lengths, chosen)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.stack([whole[name] for name in columns(chosen)], axis=1))


def test_features_of_a_drawing_do_not_depend_on_the_ones_before_it() -> None:
    steps, lengths = drawings(6)
    together = np.split(features(steps, lengths, ALL), np.cumsum(lengths)[:-1])
    for one, values in zip(split(steps, lengths), together, strict=True):
        assert np.array_equal(features(one, np.array([len(one)]), ALL), values)


def test_an_augmentation_of_nothing_changes_nothing() -> None:
    steps, lengths = drawings(20)
    changed, kept = change(STILL, steps, lengths)
    assert kept.tolist() == lengths.tolist()
    assert np.allclose(changed[:, :2] + 127.5, steps[:, :2], atol=1e-4)
    assert (changed[:, 2] == steps[:, 2]).all()


def test_an_example_changes_in_the_same_way_in_any_batch() -> None:
    steps, lengths = drawings(30)
    changed, kept = change(LIVELY, steps, lengths)
    some = np.array([17, 3, 28])
    parts = split(steps, lengths)
    again, again_kept = change(LIVELY, np.concatenate([parts[i] for i in some]), lengths[some], examples=some)
    assert again_kept.tolist() == kept[some].tolist()
    whole = split(changed, kept)
    assert np.array_equal(again, np.concatenate([whole[i] for i in some]))


@pytest.mark.parametrize("where", [{"seed": 6}, {"epoch": 3}, {"examples": np.arange(100, 130)}])
def test_another_seed_epoch_or_example_changes_otherwise(where: dict[str, Any]) -> None:
    steps, lengths = drawings(30)
    in_order = {
        **LIVELY,
        "break_off": 0.0,
        "drop_points": 0.0,
        "drop_strokes": 0.0,
        "reverse_strokes": 0.0,
        "shuffle_strokes": 0.0,
    }
    assert not np.allclose(change(in_order, steps, lengths)[0], change(in_order, steps, lengths, **where)[0])


def test_turning_and_mirroring_keep_distances() -> None:
    steps, lengths = drawings(30)
    changed, _ = change({**STILL, "rotation": 90.0, "mirror": 0.5}, steps, lengths)
    before = np.linalg.norm(np.diff(steps[:, :2].astype(float), axis=0), axis=1)
    after = np.linalg.norm(np.diff(changed[:, :2], axis=0), axis=1)
    within = np.ones(len(before), dtype=bool)
    within[np.cumsum(lengths)[:-1] - 1] = False
    assert np.allclose(before[within], after[within], atol=1e-3)


def test_mirroring_turns_left_and_right_round_and_never_up_and_down() -> None:
    steps, lengths = drawings(10)
    changed, _ = change({**STILL, "mirror": 1.0}, steps, lengths)
    assert np.allclose(127.5 - changed[:, 0], steps[:, 0], atol=1e-4)
    assert np.allclose(changed[:, 1] + 127.5, steps[:, 1], atol=1e-4)


def test_a_class_that_means_something_else_in_a_mirror_is_never_mirrored(prepared: Path) -> None:
    mirroring = AugmentationParams.model_validate({**STILL, "mirror": 1.0, "never_mirrored": ["line"]})
    train, plain = SketchDataset(prepared, "train", CHOSEN, mirroring), SketchDataset(prepared, "train", CHOSEN)
    changed, before = train.batch(np.arange(50), epoch=1), plain.batch(np.arange(50))
    same = (changed.values - before.values).abs().amax(dim=(1, 2)) < 1e-4
    assert same.tolist() == [number % 2 == 0 for number in range(50)]
    with pytest.raises(ValueError, match=r"never_mirrored: found lime; allowed: cross, line"):
        SketchDataset(prepared, "train", CHOSEN, mirroring.model_copy(update={"never_mirrored": ["lime"]}))


def test_a_drawing_that_is_broken_off_has_its_first_points_and_an_end() -> None:
    steps, lengths = drawings(300)
    changed, kept = change({**STILL, "break_off": 0.5}, steps, lengths)
    assert (kept >= np.ceil(0.2 * lengths)).all()
    assert 0.4 < (kept < lengths).mean() < 0.55
    for before, after in zip(split(steps, lengths), split(changed, kept), strict=True):
        assert np.allclose(after[:, :2] + 127.5, before[: len(after), :2], atol=1e-4)
        assert after[:-1, 2].tolist() == before[: len(after) - 1, 2].tolist()
        assert after[-1, 2] == 1


def test_dropped_points_lie_between_the_ends_of_their_stroke() -> None:
    steps, lengths = drawings(300)
    changed, kept = change({**STILL, "drop_points": 0.5}, steps, lengths)
    inner = lengths.sum() - kept.sum()
    for before, after in zip(split(steps, lengths), split(changed, kept), strict=True):
        old, new = (
            [np.frombuffer(s, np.uint8).reshape(-1, 2).tolist() for s in strokes_of(d)] for d in (before, after)
        )
        assert [(s[0], s[-1]) for s in old] == [(s[0], s[-1]) for s in new]
        assert all(point in s for s, t in zip(old, new, strict=True) for point in t)
    ends = sum(min(2, len(s) // 2) for d in split(steps, lengths) for s in strokes_of(d))
    assert 0.45 < inner / (lengths.sum() - ends) < 0.55


def test_dropped_strokes_are_whole_strokes_and_one_always_stays() -> None:
    steps, lengths = drawings(300)
    changed, kept = change({**STILL, "drop_strokes": 0.6}, steps, lengths)
    assert kept.min() >= 1
    assert kept.sum() < 0.8 * lengths.sum()
    for before, after in zip(split(steps, lengths), split(changed, kept), strict=True):
        assert set(strokes_of(after)) <= set(strokes_of(before))


def strokes_of(steps: np.ndarray) -> list[bytes]:
    """The points of each stroke of one drawing, without the pen."""
    points = np.rint(steps[:, :2] + (127.5 if steps.dtype == np.float32 else 0)).astype(np.uint8)
    return [s.tobytes() for s in np.split(points, np.flatnonzero(steps[:, 2])[:-1] + 1)]


def test_turned_strokes_run_from_their_other_end_and_keep_their_place() -> None:
    steps, lengths = drawings(50)
    changed, kept = change({**STILL, "reverse_strokes": 1.0}, steps, lengths)
    assert kept.tolist() == lengths.tolist()
    for before, after in zip(split(steps, lengths), split(changed, kept), strict=True):
        expected = [np.frombuffer(s, np.uint8).reshape(-1, 2)[::-1].tobytes() for s in strokes_of(before)]
        assert strokes_of(after) == expected


def test_shuffled_drawings_have_their_strokes_in_another_order() -> None:
    steps, lengths = drawings(200)
    changed, kept = change({**STILL, "shuffle_strokes": 0.5}, steps, lengths)
    assert kept.tolist() == lengths.tolist()
    pairs = zip(split(steps, lengths), split(changed, kept), strict=True)
    orders = [(strokes_of(before), strokes_of(after)) for before, after in pairs if before[:, 2].sum() > 3]
    assert all(sorted(before) == sorted(after) for before, after in orders)
    assert 0.35 < np.mean([before != after for before, after in orders]) < 0.65


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Sixty drawings: even ones a "line", odd ones a "cross"."""
    steps, lengths = drawings(60)
    with Preparation(tmp_path, max_rejected_share=0.0) as output:
        with output.store(COLUMNS) as store:
            for number, values in enumerate(split(steps, lengths)):
                label = ("line", "cross")[number % 2]
                where = "train" if number < 50 else "test"
                store.append(
                    {
                        "id": str(number),
                        "split": where,
                        "length": len(values),
                        "label": label,
                        "word": None,
                        "values": values,
                    }
                )
        output.describe({"classes": ["cross", "line"]})
    return tmp_path


def test_a_dataset_keeps_each_drawings_label_through_augmentation(prepared: Path) -> None:
    train = SketchDataset(prepared, "train", CHOSEN, AugmentationParams.model_validate(LIVELY), seed=1)
    batch = train.batch(np.array([4, 7, 49]), epoch=3)
    assert batch.targets is not None
    assert batch.targets.tolist() == [1, 0, 0]
    plain = train.batch(np.array([4, 7, 49]))
    assert plain.lengths.tolist() == train.lengths[[4, 7, 49]].tolist()
    assert not torch.equal(plain.values[:, :2], batch.values[:, :2])
    again = train.batch(np.array([4, 7, 49]), epoch=3)
    assert torch.equal(again.values, batch.values)
    assert len(SketchDataset(prepared, "test", CHOSEN)) == 10


def test_without_augmentation_an_epoch_changes_nothing(prepared: Path) -> None:
    test = SketchDataset(prepared, "test", CHOSEN)
    assert torch.equal(test.batch(np.arange(10), epoch=1).values, test.batch(np.arange(10)).values)

"""Temperature scaling of classifiers: right answers stay, probabilities become how often they are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from stages.evaluation.calibration import expected_calibration_error, reliability_bins
from stages.models.batch import Batch
from stages.models.classification import Classifier, fitted_temperature
from stages.models.weights import load_network, save_network, start_from
from stages.params import Block


class Settings(Block):
    """The params of `Linear`: none."""


class Linear(Classifier):
    """Logits of a batch's values themselves, each times a weight."""

    def __init__(self) -> None:
        super().__init__(label_smoothing=0.0)
        self.scale = nn.Parameter(torch.ones(()))

    def logits(self, batch: Batch) -> Tensor:
        return batch.values * self.scale


def answers(count: int = 4000, sharpness: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of five classes, made `sharpness` times as large once labels are drawn from their softmax."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 5)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < generator.random((count, 1))).sum(axis=1)
    return logits * sharpness, labels


def batch(logits: np.ndarray, labels: np.ndarray) -> Batch:
    values = torch.from_numpy(logits.astype(np.float32))
    return Batch(values=values, lengths=torch.ones(len(values), dtype=torch.int64), targets=torch.from_numpy(labels))


def ece(logits: Tensor, labels: np.ndarray) -> float:
    chances = torch.softmax(logits.double(), dim=1).detach().numpy()
    return expected_calibration_error(reliability_bins(chances.max(axis=1), chances.argmax(axis=1) == labels))


def calibrated() -> tuple[Linear, Batch, np.ndarray]:
    logits, labels = answers()
    network, some = Linear().eval(), batch(logits[:2000], labels[:2000])
    network.calibrate(lambda function: function(some).detach().numpy())
    return network, batch(logits[2000:], labels[2000:]), labels[2000:]


@pytest.mark.parametrize("sharpness", [0.2, 1.0, 3.0])
def test_the_temperature_is_the_one_of_least_cross_entropy(sharpness: float) -> None:
    logits, labels = answers(sharpness=sharpness)

    def loss(logarithm: float) -> float:
        scaled = logits / np.exp(logarithm)
        right = (len(labels) + 1) / (len(labels) + 2)
        chances = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        true = np.take_along_axis(chances, labels[:, None], axis=1)[:, 0]
        return -float((right * true + (1 - right) / 4 * (chances.sum(axis=1) - true)).mean())

    found = fitted_temperature(logits, labels)
    assert found == pytest.approx(float(np.exp(minimize_scalar(loss, bounds=(-3, 3)).x)), rel=1e-3)
    assert found == pytest.approx(sharpness, rel=0.1)


def test_unseen_answers_are_right_as_often_as_they_say_and_none_changes() -> None:
    network, unseen, labels = calibrated()
    before, after = network.logits(unseen), network(unseen)
    assert torch.equal(before.argmax(dim=1), after.argmax(dim=1))
    assert ece(before, labels) > 0.15
    assert ece(after, labels) < 0.03


def test_a_few_answers_all_right_make_none_certain() -> None:
    """Eighteen right answers say that about one in twenty may be wrong, not that none is."""
    logits = 8.0 * np.eye(3)[np.arange(18) % 3]
    scaled = logits[0] / fitted_temperature(logits, np.arange(18) % 3)
    assert np.exp(scaled).max() / np.exp(scaled).sum() == pytest.approx(19 / 20, abs=1e-3)


def test_one_class_or_equal_logits_have_a_temperature_too() -> None:
    assert fitted_temperature(np.ones((4, 1)), np.zeros(4, dtype=np.int64)) == 1.0
    assert np.isfinite(fitted_temperature(np.zeros((4, 3)), np.arange(4) % 3))


def test_the_temperature_travels_with_the_weights_and_its_copy(tmp_path: Path) -> None:
    network, unseen, _ = calibrated()
    assert network.temperature.item() != 1.0
    save_network(tmp_path, network, Settings(), {}, prepared=tmp_path, training={})
    loaded, _ = load_network(tmp_path, lambda params, data: Linear(), Settings)
    assert torch.equal(loaded(unseen), network(unseen))
    for copy in ("copy_calibration", "match_calibration"):
        other = Linear()
        further = () if copy == "copy_calibration" else (lambda f: np.zeros(0),) * 2
        getattr(other, copy)(network, *further)
        assert torch.equal(other.temperature, network.temperature)


def test_training_goes_on_from_uncalibrated_logits(tmp_path: Path) -> None:
    """What `start_from` names fresh are layers, not the temperature, which a fresh network's replaces."""
    network, unseen, _ = calibrated()
    save_network(tmp_path, network, Settings(), {}, prepared=tmp_path, training={})
    started = Linear()
    assert start_from(started, (tmp_path / "weights.safetensors").read_bytes(), "weights") == []
    started.copy_calibration(Linear())
    assert torch.equal(started(unseen), started.logits(unseen))


def test_weights_from_before_the_temperature_name_no_layer_fresh(tmp_path: Path) -> None:
    from safetensors.torch import save

    assert start_from(Linear(), save({"scale": torch.ones(())}), "weights") == []


def test_logits_that_are_no_numbers_change_no_temperature() -> None:
    logits, labels = answers(200)
    bad = np.full((3, 5), [0.0, np.nan, np.inf, -np.inf, 1.0])
    assert fitted_temperature(np.concatenate([bad, logits]), np.r_[0, 1, 2, labels]) == fitted_temperature(
        logits, labels
    )
    assert fitted_temperature(bad, np.arange(3)) == 1.0

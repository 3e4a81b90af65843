"""What is fitted on the validation days, worked out by hand, and that a forecast has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.models.batch import Batch
from stages.tasks.forecast.model.calibrate import blend_weights, quantile_offsets
from stages.tasks.forecast.model.network import build
from stages.tasks.forecast.model.windows import History
from tests.unit.test_forecast_model import model_params, wave

LEVELS = [0.05, 0.5, 0.95]


def test_a_margin_is_the_quantile_of_how_far_the_truth_lay_outside() -> None:
    actual = np.zeros((19, 7))
    actual[:, 0] = np.arange(19) - 9.0  # -9 … 9
    quantiles = np.tile([-1.0, 0.0, 1.0], (19, 7, 1))
    observed = np.ones((19, 7), dtype=bool)
    found = quantile_offsets(quantiles, actual, observed, LEVELS)
    # outside by |actual| - 1; of 19 the ceil(20 · 0.9) = 18th smallest: 8, 8 are the largest two
    assert found[0].tolist() == [-8.0, 0.0, 8.0]
    assert found[1].tolist() == [1.0, 0.0, -1.0]  # always in the middle: the band shrinks
    observed[[0, 18], 0] = False  # 17 are left: ceil(18 · 0.9) = 17th smallest, 7
    assert quantile_offsets(quantiles, actual, observed, LEVELS)[0].tolist() == [-7.0, 0.0, 7.0]
    assert not quantile_offsets(quantiles, actual, np.zeros_like(observed), LEVELS).any()


def test_the_blend_has_the_share_with_the_least_error_of_each_day() -> None:
    median, other = np.full((3, 7), 4.0), np.full((3, 7), 0.0)
    actual = np.tile([4.0, 0.0, 1.0, 3.0, 9.0, 2.0, 4.0], (3, 1))
    shares = blend_weights(median, other, actual, np.ones((3, 7), dtype=bool))
    assert shares.tolist() == pytest.approx([1.0, 0.0, 0.25, 0.75, 1.0, 0.5, 1.0])
    assert blend_weights(median, other, actual, np.zeros((3, 7), dtype=bool)).tolist() == [1.0] * 7


def batch_with(targets: torch.Tensor) -> Batch:
    network = build(model_params(quantiles=LEVELS), {})
    batch = network.features.encode([History(wave(60 + i), 100 + i) for i in range(len(targets))])
    context = {**batch.context, "weights": torch.ones(len(targets), 7)}
    return Batch(values=batch.values, lengths=batch.lengths, targets=targets, context=context)


def test_after_settling_the_band_holds_as_many_validation_days_as_it_says_and_the_weights_carry_it() -> None:
    torch.manual_seed(0)
    network = build(model_params(quantiles=LEVELS), {}).eval()
    batch = batch_with(torch.randn(99, 7) * 5)
    assert batch.targets is not None

    def held(settled: torch.nn.Module) -> torch.Tensor:
        assert batch.targets is not None
        found = settled(batch)
        return ((found[..., 0] <= batch.targets) & (batch.targets <= found[..., 2])).float().mean(dim=0)

    with torch.inference_mode():
        before = network(batch)
        assert (held(network) < 0.6).all()
        network.calibrate(lambda answer: answer(batch).numpy())
        assert held(network).tolist() == pytest.approx([90 / 99] * 7, abs=0.011)  # the day at the border may round out
        assert torch.equal(network(batch)[..., 1], before[..., 1])
        copy = build(network.params, {}).eval()
        copy.load_state_dict(network.state_dict())
        assert torch.equal(copy(batch), network(batch))


def test_a_blend_moves_all_quantiles_of_a_day_alike() -> None:
    torch.manual_seed(0)
    network = build(model_params(quantiles=LEVELS, blend="seasonal_naive"), {}).eval()
    last_week = batch_with(torch.zeros(20, 7)).values[torch.arange(20)[:, None], -7 + torch.arange(7), 0]
    batch = batch_with(last_week)  # each series repeats its last week: it needs no network
    with torch.inference_mode():
        network.calibrate(lambda answer: answer(batch).numpy())
        assert network.blend.tolist() == [0.0] * 7
        assert torch.allclose(network(batch)[..., 1], last_week, atol=1e-5)


def test_the_bands_of_a_refit_network_are_as_wide_as_the_measured_ones() -> None:
    torch.manual_seed(0)
    measured, served = (build(model_params(quantiles=LEVELS), {}).eval() for _ in range(2))
    batch = batch_with(torch.randn(99, 7) * 5)
    for (
        name,
        parameter,
    ) in measured.named_parameters():  # a short training: bands far too wide, whose offsets narrow them
        if name.endswith("head.bias"):
            parameter.data.add_(torch.tensor([40.0, 0.0, 40.0]))
    with torch.inference_mode():
        measured.calibrate(lambda answer: answer(batch).numpy())
        assert (measured.margins[:, 2] < -20).all()
        served.match_calibration(measured, *[lambda answer: answer(batch).numpy()] * 2)
        widths = [(found[..., 2] - found[..., 0]).mean(dim=0) for found in (measured(batch), served(batch))]
        assert widths[0].tolist() == pytest.approx(widths[1].tolist(), rel=1e-3)
        assert (served.margins[:, 2] > -5).all()  # the same offsets would have left no band at all
        assert (served.margins[:, 1] == 0).all()


def test_a_narrowed_band_never_crosses_its_median() -> None:
    network = build(model_params(quantiles=LEVELS), {}).eval()
    network.margins.copy_(torch.tensor([50.0, 0.0, -50.0]))
    found = network(batch_with(torch.zeros(3, 7)))
    assert (found.diff(dim=-1) >= 0).all()

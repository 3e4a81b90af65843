"""The mixture density of strokes against torch.distributions, and what is drawn from it."""

import math
from dataclasses import fields

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from stages.models.mixture import DRAWS, StrokeMixture

COMPONENTS = 4


def mixture(*shape: int, least: float = 0.1) -> StrokeMixture:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(*shape, StrokeMixture.size(COMPONENTS), generator=generator)
    return StrokeMixture.of(numbers, least_deviation=least)


def by_torch(found: StrokeMixture) -> MixtureSameFamily:
    across = found.correlation * found.deviation_x * found.deviation_y
    rows = [torch.stack([found.deviation_x**2, across], -1), torch.stack([across, found.deviation_y**2], -1)]
    means = torch.stack([found.mean_x, found.mean_y], -1).double()
    components = MultivariateNormal(means, torch.stack(rows, -2).double())
    return MixtureSameFamily(Categorical(logits=found.log_weights.double()), components)


def test_the_density_is_that_of_torch():
    found = mixture(5, 3)
    offsets = 2 * torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(1))
    expected = by_torch(found).log_prob(offsets.double())
    torch.testing.assert_close(found.log_density(offsets).double(), expected, rtol=1e-4, atol=1e-4)


def test_the_density_sums_to_one():
    found = mixture(1, least=0.3)
    line = torch.linspace(-30, 30, 601)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    wide = StrokeMixture(**{name: getattr(found, name).expand(len(grid), -1) for name in StrokeMixture.__slots__})
    assert float(wide.log_density(grid).double().exp().sum()) * 0.1**2 == pytest.approx(1.0, abs=2e-3)


def test_the_pen_loss_is_the_cross_entropy_of_the_first_three_numbers():
    numbers = torch.randn(2, 3, StrokeMixture.size(COMPONENTS), generator=torch.Generator().manual_seed(0))
    states = torch.tensor([[0, 1, 2], [2, 2, 0]])
    expected = torch.nn.functional.cross_entropy(numbers[..., :3].transpose(1, 2), states, reduction="none")
    torch.testing.assert_close(StrokeMixture.of(numbers, least_deviation=0.1).pen_loss(states), expected)


def test_no_deviation_is_smaller_than_the_least_one():
    numbers = torch.full((1, StrokeMixture.size(COMPONENTS)), -50.0)
    found = StrokeMixture.of(numbers, least_deviation=0.25)
    assert float(found.deviation_x.min()) == 0.25
    assert math.isfinite(float(found.log_density(torch.zeros(1, 2))))


def many(count: int, temperature: float) -> tuple[StrokeMixture, torch.Tensor, torch.Tensor]:
    found = mixture(1)
    wide = StrokeMixture(**{name: getattr(found, name).expand(count, -1) for name in StrokeMixture.__slots__})
    uniform = torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(2))
    heat = torch.full((count, 1), temperature)
    return found, *wide.draw(uniform, heat, heat)


def test_at_temperature_one_offsets_and_pen_come_as_often_as_the_mixture_says():
    found, offsets, pen = many(200_000, 1.0)
    expected = by_torch(found)
    torch.testing.assert_close(offsets.mean(0).double(), expected.mean[0], rtol=0, atol=0.03)
    torch.testing.assert_close(offsets.var(0).double(), expected.variance[0], rtol=0.03, atol=0)
    shares = torch.bincount(pen, minlength=3) / len(pen)
    torch.testing.assert_close(shares, found.pen[0].exp(), rtol=0, atol=0.005)
    drawn = torch.cov(offsets.T.double())[0, 1]
    sample = torch.cov(expected.sample((200_000,))[:, 0].T)[0, 1]
    assert float(drawn) == pytest.approx(float(sample), abs=0.06)


@pytest.mark.parametrize("temperature", [0.0, 1e-9])
def test_towards_temperature_zero_the_mode_of_the_likeliest_component_is_left(temperature):
    found, offsets, pen = many(50, temperature)
    best = int(found.log_weights.argmax())
    mode = torch.stack([found.mean_x[0, best], found.mean_y[0, best]])
    torch.testing.assert_close(offsets, mode.expand(50, 2), rtol=0, atol=1e-3)
    assert pen.tolist() == [int(found.pen.argmax())] * 50


def test_a_lower_temperature_draws_closer_together():
    spreads = [float(many(20_000, temperature)[1].var(0).sum()) for temperature in (0.1, 0.5, 1.0)]
    assert spreads == sorted(spreads)
    assert spreads[0] < spreads[2] / 2


def test_the_pen_has_a_temperature_of_its_own():
    """The way is the likeliest one, and the pen is drawn as often as its probabilities say."""
    found, _, _ = many(1, 1.0)
    wide = StrokeMixture(**{f.name: getattr(found, f.name).expand(20_000, -1) for f in fields(found)})
    uniform = torch.rand(20_000, 4, generator=torch.Generator().manual_seed(5))
    cold, warm = torch.zeros(20_000, 1), torch.ones(20_000, 1)
    offset, pen = wide.draw(uniform, cold, warm)
    assert len(offset.unique(dim=0)) == 1
    shares = torch.bincount(pen, minlength=3) / 20_000
    torch.testing.assert_close(shares, found.pen.exp()[0], rtol=0, atol=0.01)

"""Our dropout does what PyTorch's does."""

from __future__ import annotations

import pytest
import torch

from stages.models.dropout import Dropout


def dropped(p: float, values: torch.Tensor, *, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return Dropout(p)(values)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_drops_the_share_and_keeps_the_mean(p, dtype):
    values = dropped(p, torch.ones(999, 1003, dtype=dtype))
    assert values.dtype == dtype
    zeros = values == 0
    # A million draws: the share's standard error is at most 0.0005, also of each of the four that share a draw.
    assert zeros.double().mean() == pytest.approx(p, abs=0.0025)
    for lane in range(4):
        assert zeros.flatten()[lane::4].double().mean() == pytest.approx(p, abs=0.005)
    assert values[~zeros].double().unique().tolist() == pytest.approx([1 / (1 - p)], rel=0.01)


def test_neighbours_are_dropped_independently():
    zeros = (dropped(0.3, torch.ones(400_000)) == 0).double()
    for distance in range(1, 9):
        together = torch.corrcoef(torch.stack([zeros[:-distance], zeros[distance:]]))[0, 1]
        assert abs(together) < 0.01


def test_the_seed_decides():
    values = torch.ones(10, 7)
    assert dropped(0.5, values).equal(dropped(0.5, values))
    assert not dropped(0.5, values).equal(dropped(0.5, values, seed=1))


def test_gradients_are_those_of_what_was_kept():
    values = torch.ones(101, requires_grad=True)
    kept = dropped(0.4, values)
    kept.sum().backward()
    assert values.grad is not None
    assert values.grad.equal(kept.detach())


@pytest.mark.parametrize("shape", [(0, 3), (), (1,), (2, 3, 5)])
def test_any_shape(shape):
    assert dropped(0.5, torch.ones(shape)).shape == torch.Size(shape)


def test_nothing_is_drawn_in_evaluation_or_where_nothing_is_dropped():
    values, state = torch.randn(5, 5), torch.get_rng_state()
    assert Dropout(0.5).eval()(values).equal(values)
    assert Dropout(0.0)(values).equal(values)
    assert torch.get_rng_state().equal(state)


def test_all_is_dropped_at_one():
    assert not dropped(1.0, torch.ones(100)).any()

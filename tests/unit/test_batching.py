import numpy as np
import pytest
import torch

from stages.batching import Batch, by_length, length_mask, pad, padding_share, plan, uniform


def lengths(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, size=count)


def test_pad_puts_zeros_after_each_end_and_the_mask_says_where():
    values, sizes = pad([np.array([[1.0], [2.0]], np.float32), np.array([[3.0]], np.float32)])
    assert values.tolist() == [[[1.0], [2.0]], [[3.0], [0.0]]]
    batch = Batch(values=values, lengths=sizes)
    assert batch.mask.tolist() == [[True, True], [True, False]]
    assert length_mask(torch.tensor([0, 2]), 2).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (8, 8), (1000, 16), (1003, 16), (5, 1)])
def test_an_epoch_has_every_example_exactly_once(count, batch_size):
    batches = plan(lengths(count), batch_size, seed=3, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert max(len(b) for b in batches) <= batch_size


def test_a_plan_depends_on_seed_and_epoch_alone():
    def flat(seed: int, epoch: int) -> list[list[int]]:
        return [b.tolist() for b in plan(lengths(500), 16, seed=seed, epoch=epoch)]

    assert flat(1, 0) == flat(1, 0)
    assert flat(1, 0) != flat(1, 1)
    assert flat(1, 0) != flat(2, 0)


def test_buckets_leave_little_padding():
    sizes = lengths(6400)
    fixed = [np.arange(i, i + 64) for i in range(0, 6400, 64)]
    assert padding_share(sizes, fixed) > 0.45
    assert padding_share(sizes, plan(sizes, 64, seed=1, epoch=0)) < 0.05


def test_padding_share_by_hand():
    # Two batches of lengths (1, 3) and (2, 2): 6 + 4 padded steps for 8 real ones.
    assert padding_share(np.array([1, 3, 2, 2]), [np.array([0, 1]), np.array([2, 3])]) == pytest.approx(0.2)


def test_by_length_starts_with_the_longest_and_reads_everything():
    order = np.concatenate(list(by_length(np.array([3, 9, 1, 9]), 2)))
    assert order.tolist() == [1, 3, 0, 2]


def test_draws_belong_to_an_example_and_not_to_its_batch():
    together = uniform(7, 2, np.array([5, 9, 11]), 4)
    alone = uniform(7, 2, np.array([9]), 4)
    np.testing.assert_array_equal(together[1], alone[0])
    assert not np.array_equal(uniform(7, 3, np.array([9]), 4), alone)
    assert not np.array_equal(uniform(8, 2, np.array([9]), 4), alone)


def test_draws_are_uniform_and_unrelated():
    draws = uniform(1, 0, np.arange(20_000), 3)
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(draws.var(axis=0), 1 / 12, atol=0.002)
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.03

import numpy as np
import torch

from stages.models.batch import Batch, by_length, length_mask, pad
from stages.models.counter_rng import uniform


def test_pad_puts_zeros_after_each_end_and_the_mask_says_where():
    values, sizes = pad([np.array([[1.0], [2.0]], np.float32), np.array([[3.0]], np.float32)])
    assert values.tolist() == [[[1.0], [2.0]], [[3.0], [0.0]]]
    batch = Batch(values=values, lengths=sizes)
    assert batch.mask.tolist() == [[True, True], [True, False]]
    assert length_mask(torch.tensor([0, 2]), 2).tolist() == [[False, False], [True, True]]


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

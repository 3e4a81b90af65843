import numpy as np
import pytest

from stages.training.batch_sampler import POOL, BucketBatchSampler, _even_cuts, padding_share, permuted, shard


def lengths(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, size=count)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (8, 8), (1000, 16), (1003, 16), (5, 1), (POOL * 3 + 1, 1)])
def test_an_epoch_has_every_example_exactly_once(count, batch_size):
    sampler = BucketBatchSampler(lengths(count), batch_size, seed=3, epoch=1)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert max(len(b) for b in batches) <= batch_size


def test_batches_depend_on_seed_and_epoch_alone():
    def flat(seed: int, epoch: int) -> list[list[int]]:
        return [b.tolist() for b in BucketBatchSampler(lengths(500), 16, seed=seed, epoch=epoch)]

    assert flat(1, 0) == flat(1, 0)
    assert flat(1, 0) != flat(1, 1)
    assert flat(1, 0) != flat(2, 0)
    assert flat(1, 2) != flat(2, 1)


def test_any_step_can_be_asked_for_alone():
    whole = [b.tolist() for b in BucketBatchSampler(lengths(2000), 8, seed=1, epoch=4)]
    for step in (0, 249, POOL, POOL - 1, 123):
        assert BucketBatchSampler(lengths(2000), 8, seed=1, epoch=4)[step].tolist() == whole[step]
    with pytest.raises(IndexError):
        BucketBatchSampler(lengths(2000), 8, seed=1, epoch=4)[250]


def test_buckets_leave_little_padding():
    sizes = lengths(6400)
    fixed = [np.arange(i, i + 64) for i in range(0, 6400, 64)]
    assert padding_share(sizes, fixed) > 0.45
    assert padding_share(sizes, list(BucketBatchSampler(sizes, 64, seed=1, epoch=0))) < 0.05


BUDGET = 2000


@pytest.mark.parametrize("count", [1, 3, 700, 5000])
def test_with_a_budget_an_epoch_has_every_example_once_in_a_known_number_of_steps(count):
    for epoch in (0, 1):
        sampler = BucketBatchSampler(lengths(count), 8, seed=3, epoch=epoch, batch_tokens=BUDGET)
        batches = list(sampler)
        assert (
            len(batches)
            == len(sampler)
            == len(BucketBatchSampler(lengths(count), 8, seed=3, epoch=9, batch_tokens=BUDGET))
        )
        assert all(len(batch) for batch in batches)
        assert sorted(np.concatenate(batches).tolist()) == list(range(count))


def test_with_a_budget_batches_are_as_large_as_it_whatever_their_lengths():
    sizes = lengths(20_000)
    batches = list(BucketBatchSampler(sizes, 8, seed=1, epoch=0, batch_tokens=BUDGET))
    padded = np.array([len(batch) * sizes[batch].max() for batch in batches])
    assert padded.max() < 1.1 * BUDGET
    assert padded.mean() > 0.92 * BUDGET
    assert padding_share(sizes, batches) < 0.05
    assert max(map(len, batches)) > 8 * min(map(len, batches))  # of short sequences many, of 199 steps about ten


def test_with_a_budget_any_step_can_be_asked_for_alone():
    whole = [b.tolist() for b in BucketBatchSampler(lengths(5000), 8, seed=1, epoch=4, batch_tokens=BUDGET)]
    for step in (0, 123, len(whole) - 1):
        assert BucketBatchSampler(lengths(5000), 8, seed=1, epoch=4, batch_tokens=BUDGET)[step].tolist() == whole[step]
    assert [b.tolist() for b in BucketBatchSampler(lengths(5000), 8, seed=1, epoch=5, batch_tokens=BUDGET)] != whole


def test_an_example_that_exceeds_the_budget_is_a_batch_of_its_own():
    sizes = np.array([1] * 300 + [10_000] * 3)
    batches = list(BucketBatchSampler(sizes, 8, seed=1, epoch=0, batch_tokens=50))
    assert all(len(batch) == 1 for batch in batches if sizes[batch].max() > 1)


@pytest.mark.parametrize(
    ("sizes", "parts", "expected"),
    [
        ([1, 1, 2, 4], 2, [3]),  # 1 1 2 | 4: 6 and 4 steps with padding; 1 1 | 2 4 has 8
        ([3, 3, 3, 3], 4, [1, 2, 3]),
        ([2, 2, 2, 2, 2], 3, [1, 3]),  # at the most two of 2; the first takes what is left
        ([1, 1, 1, 9], 3, [1, 3]),  # two parts would do: the wider one is halved
    ],
)
def test_cuts_by_hand(sizes, parts, expected):
    assert _even_cuts(sizes, parts) == expected


def test_padding_share_by_hand():
    # Two batches of lengths (1, 3) and (2, 2): 6 + 4 padded steps for 8 real ones.
    assert padding_share(np.array([1, 3, 2, 2]), [np.array([0, 1]), np.array([2, 3])]) == pytest.approx(0.2)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000, 4096, 5000])
def test_a_permutation_holds_everything_once(size):
    assert sorted(permuted(np.arange(size), size, seed=5, epoch=0).tolist()) == list(range(size))


def test_a_permutation_looks_random():
    size, draws = 1000, 400
    orders = np.array([permuted(np.arange(size), size, seed=seed, epoch=0) for seed in range(draws)])
    # Any place holds any value alike, and neighbours are strangers.
    counts = np.array([np.bincount(orders[:, place] // 100, minlength=10) for place in range(0, size, 50)])
    expected = draws / 10
    assert ((counts - expected) ** 2 / expected).sum() / counts.size < 1.3
    assert abs(np.corrcoef(orders[:, :-1].ravel(), orders[:, 1:].ravel())[0, 1]) < 0.01


def test_fifty_million_examples_start_like_fifty():
    size = 50_000_000
    some = permuted(np.arange(size - 3200, size), size, seed=1, epoch=0)
    assert len(np.unique(some)) == 3200
    assert some.min() >= 0
    assert some.max() < size


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_shards_are_the_batch_and_alike_in_length(ranks):
    sizes = lengths(64 * POOL)
    totals = np.zeros(ranks)
    for examples in BucketBatchSampler(sizes, 64, seed=1, epoch=0):
        shards = [shard(examples, rank, ranks) for rank in range(ranks)]
        assert sorted(np.concatenate(shards).tolist()) == sorted(examples.tolist())
        longest = [sizes[s].max() for s in shards]
        assert max(longest) - min(longest) <= 25
        totals += [sizes[s].mean() for s in shards]
    assert totals.max() < 1.02 * totals.min()

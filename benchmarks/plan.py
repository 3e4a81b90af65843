"""What each rank of a training would compute, without having the ranks.

    python -m benchmarks.plan sketch --ranks 8
    python -m benchmarks.plan sketch --ranks 64 --sequences 50000000 --steps 500

A step takes as long as its slowest rank. The table shows, for each rank, how many sequences and padded time steps it
gets in an epoch, and below it what waiting for the slowest costs. `--sequences` draws the lengths of so many sequences
from those that are prepared; `--steps` looks at so many steps, evenly over the epoch, which is enough for millions.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from stages.params import load
from stages.tasks.protocol import Task
from stages.training.batch_sampler import BucketBatchSampler, shard


def shares(
    lengths: np.ndarray, batch_size: int, ranks: int, steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For some steps of an epoch and each rank, `(steps, ranks)`: sequences, time steps, these with padding."""
    plan = BucketBatchSampler(lengths, batch_size, seed=seed, epoch=0)
    chosen = np.unique(np.linspace(0, len(plan) - 1, min(steps, len(plan))).round().astype(np.int64))
    counts = np.zeros((len(chosen), ranks), dtype=np.int64)
    real, padded = np.zeros_like(counts), np.zeros_like(counts)
    for row, step in enumerate(chosen):
        for rank in range(ranks):
            mine = lengths[shard(plan[int(step)], rank, ranks)]
            counts[row, rank], real[row, rank] = len(mine), mine.sum()
            padded[row, rank] = len(mine) * int(mine.max(initial=0))
    return counts, real, padded


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=Task.names())
    parser.add_argument("--ranks", type=int, default=8, help="ranks to plan for (8)")
    parser.add_argument("--batch-size", type=int, help="sequences a step over all ranks (train.batch_size)")
    parser.add_argument("--sequences", type=int, help="pretend there are so many (as many as are prepared)")
    parser.add_argument("--steps", type=int, default=1000, help="steps to look at, at the most (1000)")
    chosen = parser.parse_args()
    params = load()[chosen.task]
    dataset = Task(chosen.task).model().dataset(Task(chosen.task).paths.prepared, "train", params, augment=False)
    lengths = np.asarray(dataset.lengths)
    if chosen.sequences:
        lengths = np.random.default_rng(0).choice(lengths.astype(np.int32), chosen.sequences)
    batch_size = chosen.batch_size or params.train.batch_size
    started = time.perf_counter()
    first = BucketBatchSampler(lengths, batch_size, seed=params.train.seed, epoch=0)[0]
    ready = time.perf_counter() - started
    counts, real, padded = shares(lengths, batch_size, chosen.ranks, chosen.steps, params.train.seed)
    steps = -(-len(lengths) // batch_size)
    print(f"{len(lengths):,} sequences, {batch_size} a step, {steps:,} steps an epoch; {len(counts):,} of them below")
    print(f"the first step's {len(first)} sequences were known after {ready * 1000:.1f} ms")
    print(f"{'rank':>5} {'sequences':>12} {'padded steps':>14}")
    for rank in range(chosen.ranks):
        print(f"{rank:>5} {counts[:, rank].sum():>12,} {padded[:, rank].sum():>14,}")
    slowest = padded.max(axis=1).sum() * chosen.ranks
    print(f"padding: {1 - real.sum() / padded.sum():.1%}")
    print(f"waiting for the slowest rank: {1 - padded.sum() / slowest:.2%} of all ranks' time")


if __name__ == "__main__":
    main()

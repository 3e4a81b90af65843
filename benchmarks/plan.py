"""What each rank of a training would compute, without having the ranks.

    python -m benchmarks.plan sketch --ranks 8
    python -m benchmarks.plan sketch --ranks 64 --sequences 50000000 --steps 500

A step takes as long as its slowest rank. The table shows, for each rank, how many sequences and padded time steps it
gets in an epoch, and below it what waiting for the slowest costs. `--sequences` draws the lengths of so many sequences
from those that are prepared; `--steps` looks at so many steps, evenly over the epoch, which is enough for millions.
"""

from __future__ import annotations

import time

import numpy as np

from stages.params import load
from stages.tasks.protocol import Task
from stages.training.batch_sampler import BucketBatchSampler, shard

from . import command


def main() -> None:
    """The command line."""
    parser = command.parser("plan", __doc__)
    parser.add_argument("task", choices=Task.names())
    parser.add_argument("--ranks", type=int, default=8, help="ranks to plan for (8)")
    parser.add_argument("--batch-size", type=int, help="sequences a step over all ranks (train.batch_size)")
    parser.add_argument("--sequences", type=int, help="pretend there are so many (as many as are prepared)")
    parser.add_argument("--steps", type=int, default=1000, help="steps to look at, at the most (1000)")
    args = parser.parse_args()
    task, params = Task(args.task), load()[args.task]
    lengths = np.asarray(task.model().dataset(task.paths.prepared, "train", params, augment=False).lengths)
    if args.sequences:
        lengths = np.random.default_rng(0).choice(lengths.astype(np.int32), args.sequences)
    batch_size = args.batch_size or params.train.batch_size
    started = time.perf_counter()
    sampler = BucketBatchSampler(lengths, batch_size, seed=params.train.seed, epoch=0)
    first = len(sampler[0])
    ready = time.perf_counter() - started
    chosen = np.unique(np.linspace(0, len(sampler) - 1, min(args.steps, len(sampler))).round().astype(np.int64))
    counts, real, padded = np.zeros((3, len(chosen), args.ranks), dtype=np.int64)
    for row, step in enumerate(chosen.tolist()):
        for rank in range(args.ranks):
            own = lengths[shard(sampler[step], rank, args.ranks)]
            counts[row, rank], real[row, rank] = len(own), own.sum()
            padded[row, rank] = len(own) * int(own.max(initial=0))
    print(f"{len(lengths):,} sequences, {batch_size} a step, {len(sampler):,} steps an epoch; of them {len(chosen):,}:")
    print(f"the first step's {first} sequences were known after {ready * 1000:.1f} ms")
    print(f"{'rank':>5} {'sequences':>12} {'padded steps':>14}")
    for rank in range(args.ranks):
        print(f"{rank:>5} {counts[:, rank].sum():>12,} {padded[:, rank].sum():>14,}")
    padding = float(1 - real.sum() / padded.sum())
    waiting = float(1 - padded.sum() / (padded.max(axis=1).sum() * args.ranks))
    print(f"padding: {padding:.1%}")
    print(f"waiting for the slowest rank: {waiting:.2%} of all ranks' time")
    plan = {"ranks": args.ranks, "sequences": len(lengths), "sequences a step": batch_size}
    plan |= {"padding": padding, "waiting": waiting, "first step, ms": 1000 * ready}
    command.write(args.json, {"machine": command.machine(), "plan": [plan]})


if __name__ == "__main__":
    main()

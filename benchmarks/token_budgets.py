"""How much faster a translator trains with batches by a budget of tokens than with a fixed number of pairs.

    python -m benchmarks.token_budgets --recipe multi30k --prepared data/translation/prepared
    python -m benchmarks.token_budgets --threads 2 --steps 40 --json token_budgets.json

The prepared data are trained on with the recipe's network, forward, backward and AdamW, in one process. The budget is
the recipe's; the fixed batches have as many pairs as make as many steps an epoch. Steps of both take turns, spread
evenly over an epoch. Columns: target tokens a second, padding of sources and of targets, milliseconds of the slowest
step.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch

from stages.data.prepared import open_prepared
from stages.tasks.translation.model.network import SentencePairs, build
from stages.tasks.translation.params import Params
from stages.training.batch_sampler import BucketBatchSampler, padding_share

from . import command, data, timing

WARM_UP = 2  # steps of each side that do not count


def main() -> None:
    """The command line."""
    parser = command.parser("token_budgets", __doc__)
    parser.add_argument("--recipe", default="multi30k")
    parser.add_argument("--prepared", type=Path, default=data.REPOSITORY / "data/translation/prepared")
    parser.add_argument("--steps", type=int, default=20, help="of each side; two more do not count (20)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        _, params = data.recipe_params(args.recipe, args.prepared, Path(temporary))  # its source is not read
    assert isinstance(params, Params)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    store, description = open_prepared(args.prepared)
    by_source, by_both = SentencePairs(store, "train"), SentencePairs(store, "train", longer_side=True)
    targets = store.lengths("target")[by_source.rows] + 1
    budget = BucketBatchSampler(by_both.lengths, 1, seed=1, epoch=0, batch_tokens=params.train.batch_tokens)
    pairs = round(len(by_source) / len(budget))
    samplers = {
        f"{pairs} pairs": BucketBatchSampler(by_source.lengths, pairs, seed=1, epoch=0),
        f"{params.train.batch_tokens} tokens": budget,
    }
    network = build(params.model, description).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    count = args.steps + WARM_UP
    batches = {
        name: [by_source.batch(sampler[number * len(sampler) // count]) for number in range(count)]
        for name, sampler in samplers.items()
    }
    tokens: dict[str, list[float]] = {name: [] for name in samplers}

    def step(name: str) -> None:
        optimizer.zero_grad()
        kind = params.train.precision
        with torch.autocast("cpu", dtype=getattr(torch, kind), enabled=kind != "float32"):
            loss, weight = network.losses(batches[name][len(tokens[name])])["loss"]
        (loss.float() / weight).backward()
        optimizer.step()
        tokens[name].append(float(weight))

    sides = {name: partial(step, name) for name in samplers}
    seconds = timing.alternate(sides, rounds=args.steps, warm_up=WARM_UP)
    rows = [
        {
            "batches of": name,
            "target tokens/s": sum(tokens[name][WARM_UP:]) / sum(seconds[name].wall),
            "padding of sources": padding_share(by_source.lengths, list(sampler)),
            "of targets": padding_share(targets, list(sampler)),
            "slowest step, ms": 1000 * max(seconds[name].wall),
        }
        for name, sampler in samplers.items()
    ]
    print(command.table(rows))
    command.write(args.json, {"rows": rows})


if __name__ == "__main__":
    main()

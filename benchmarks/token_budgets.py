"""How much faster a translator trains with batches by a budget of tokens than with a fixed number of pairs.

    python -m benchmarks.token_budgets --recipe multi30k --prepared data/translation/prepared
    python -m benchmarks.token_budgets --threads 2 --steps 40 --json token_budgets.json

The prepared data are trained on with the recipe's network, forward, backward and AdamW, in one process. The budget is
the recipe's; the fixed batches have as many pairs as make as many steps an epoch. Steps of both take turns, spread
evenly over an epoch. Columns: target tokens a second, padding of sources and of targets, milliseconds of the slowest
step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from stages.data.prepared import open_prepared
from stages.tasks.translation.model.network import SentencePairs, build
from stages.tasks.translation.params import Params
from stages.training.batch_sampler import BucketBatchSampler, padding_share

from . import data


@dataclass
class Side:
    """One way to make batches, and how its steps went."""

    name: str
    plan: BucketBatchSampler
    tokens: int = 0
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="multi30k")
    parser.add_argument("--prepared", type=Path, default=data.REPOSITORY / "data/translation/prepared")
    parser.add_argument("--steps", type=int, default=20, help="of each side; two more do not count (20)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        _, params = data.recipe_params(chosen.recipe, chosen.prepared, Path(temporary))  # its source is not read
    assert isinstance(params, Params)
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(1)
    store, description = open_prepared(chosen.prepared)
    by_source, by_both = SentencePairs(store, "train"), SentencePairs(store, "train", longer_side=True)
    targets = store.lengths("target")[by_source.rows] + 1
    budget = BucketBatchSampler(by_both.lengths, 1, seed=1, epoch=0, batch_tokens=params.train.batch_tokens)
    pairs = round(len(by_source) / len(budget))
    sides = [Side(f"{pairs} pairs", BucketBatchSampler(by_source.lengths, pairs, seed=1, epoch=0))]
    sides.append(Side(f"{params.train.batch_tokens} tokens", budget))

    network = build(params.model, description).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    for number in range(chosen.steps + 2):
        for side in sides:
            examples = side.plan[number * len(side.plan) // (chosen.steps + 2)]
            batch = by_source.batch(examples)
            started = time.perf_counter()
            optimizer.zero_grad()
            with torch.autocast(
                "cpu", dtype=getattr(torch, params.train.precision), enabled=params.train.precision != "float32"
            ):
                loss, tokens = network.losses(batch)["loss"]
            (loss.float() / tokens).backward()
            optimizer.step()
            if number >= 2:
                side.seconds.append(time.perf_counter() - started)
                side.tokens += int(tokens)

    figures = {}
    print("| batches of | target tokens/s | padding of sources | of targets | slowest step, ms |")
    print("| --- | --- | --- | --- | --- |")
    for side in sides:
        epoch = list(side.plan)
        found = {
            "tokens_per_second": side.tokens / sum(side.seconds),
            "source_padding": padding_share(by_source.lengths, epoch),
            "target_padding": padding_share(targets, epoch),
            "slowest_step_ms": 1000 * float(np.max(side.seconds)),
        }
        figures[side.name] = found
        rate, source, target, slowest = found.values()
        print(f"| {side.name} | {rate:,.0f} | {source:.1%} | {target:.1%} | {slowest:.0f} |", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

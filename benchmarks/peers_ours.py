"""Our sides of `peers.py`: programs that work in turns, see `turns.py`.

python -m benchmarks.peers_ours translation|series|clips|drawings ARGUMENTS
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stages.params import load
from stages.tasks.protocol import Task

from .data import REPOSITORY
from .peer_files import Side, all_clips
from .turns import Turns, repeat


def translation(prepared: str, settings: str) -> None:
    """Turns that train an epoch of the first pairs, then turns that translate; `settings` is JSON of the task's params
    with `pairs` and `sentences` beside them.
    """
    turns = Turns()
    import torch

    from stages.data.prepared import open_prepared
    from stages.tasks.translation.evaluate.evaluate import translate_split
    from stages.tasks.translation.model.network import SentencePairs, build
    from stages.training import distributed, loop
    from stages.training.debug_modes import Subset

    asked = json.loads(settings)
    params: Any = Task("translation").params_type().model_validate(asked["params"])
    store, description = open_prepared(Path(prepared))
    distributed.configure(seed=params.train.seed, threads=1)
    network = build(params.model, description)
    pairs = SentencePairs(store, "train", longer_side=True)
    train = Subset(pairs, np.arange(min(len(pairs), asked["pairs"])), augment=True)
    validation = SentencePairs(store, "validation")
    one = Subset(validation, np.arange(1), augment=False)  # measuring is no part of the comparison
    sources = [validation.source(example) for example in range(min(len(validation), asked["sentences"]))]
    tokens = sum(len(pairs.target(example)) + 1 for example in range(len(train)))
    weights = sum(weight.numel() for weight in network.parameters())
    turns.ready({"version": f"torch {torch.__version__}", "weights": weights})
    loop.fit(
        network,
        train,
        one,
        params.train,
        on_epoch=lambda epoch: turns.answer({"tokens": tokens, "steps": epoch.steps}),
    )
    network.eval()
    while True:
        found = translate_split(network, sources, params.evaluate, params.evaluate.beam_size)
        turns.answer({"translations": [answer.tokens for answer in found]})


def series(source: str, first: str, last: str, seeds: str) -> None:
    """Turns that train and answer the M4 set of `forecast_rolling` by another seed each, nothing kept from before."""
    turns = Turns()
    from .forecast_rolling import Trial
    from .peers_series import by_series

    with tempfile.TemporaryDirectory() as work:
        trial = Trial(source=Path(source), work=Path(work), name="m4", test=(first, last), overlay={})
        actuals = trial.actuals  # prepares what was known and what came
        turns.ready({"version": f"torch {version('torch')}"})
        for seed in range(1, int(seeds) + 1):
            mean = np.array(trial.network(seed)["mean"])
            turns.answer({"steps": seed, "mean": by_series(trial, actuals, mean)})


def clips(folder: str, size: str, frames: str) -> Side:
    """As `peer_files` says; with all that `read_clip` does beside: packets counted, damage looked for."""
    from stages.tasks.video.data.decode import read_clip
    from stages.tasks.video.prepare.prepare import decoding_of

    params: Any = load(REPOSITORY / "params.yaml")["video"].prepare
    decoding = replace(decoding_of(params), size=int(size), channels=3, frames=int(frames))
    return all_clips(folder, lambda path: read_clip(path, decoding).frames, f"PyAV {version('av')}")


def drawings(file: str) -> Side:
    """The preprocess stage's work on the file, into a store that is thrown away."""
    from . import preprocess

    def run() -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory(dir=Path(file).parents[2]) as target:
            preprocess.ours(Path(file), Path(target, "prepared"))
            return {"megabytes": sum(path.stat().st_size for path in Path(target).rglob("*.arrow")) / 1e6}

    return {"version": f"pyarrow {version('pyarrow')}"}, run


def main() -> None:
    """The command line."""
    part, *arguments = sys.argv[1:]
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if part == "clips":
        repeat(lambda: clips(*arguments))
    elif part == "drawings":
        repeat(lambda: drawings(*arguments))
    elif part == "translation":
        translation(*arguments)
    else:
        series(*arguments)


if __name__ == "__main__":
    main()

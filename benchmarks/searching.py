"""How much faster search is for all sentences and hypotheses at once than for one sentence after the other.

    python -m benchmarks.searching --weights weights/translation --prepared data/translation/prepared
    python -m benchmarks.searching --sentences 500 --batch-size 128 --threads 2 --json searching.json

One trained network, the test split's sentences, one process; the two sides take turns at each setting, `--repeat` times
over, and the best of each counts. Columns: sentences a second one by one, in batches, the ratio, and the share of
sentences that get the same tokens (rounding may turn two that are equally likely). The last rows say what certain
answers save: `--sentences` in batches until all hypotheses have ended, and until the best is certain.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.data.prepared import open_prepared
from stages.evaluation.bootstrap import evenly
from stages.models.weights import load_network
from stages.tasks.translation.model.network import SentencePairs, Translator, build
from stages.tasks.translation.model.translate import Translation, translate
from stages.tasks.translation.params import ModelParams

from .data import REPOSITORY

BEAMS = (1, 5, 10)


def timed(network: Translator, sources: list[np.ndarray], **options: Any) -> tuple[float, list[list[Translation]]]:
    """Seconds, and the translations."""
    started = time.perf_counter()
    answers = translate(network, sources, **options)
    return time.perf_counter() - started, answers


def compared(
    network: Translator, sources: list[np.ndarray], one: dict[str, Any], other: dict[str, Any], repeat: int
) -> dict[str, float]:
    """Sentences a second with two settings of `translate`, in turns, and the share of equal best answers."""
    best = [float("inf"), float("inf")]
    answers: list[list[list[Translation]]] = [[], []]
    for _ in range(repeat):
        for side, options in enumerate((one, other)):
            seconds, answers[side] = timed(network, sources, **options)
            best[side] = min(best[side], seconds)
    same = [a[0].tokens == b[0].tokens for a, b in zip(*answers, strict=True)]
    first, second = (len(sources) / seconds for seconds in best)
    return {"first": first, "second": second, "ratio": second / first, "same": float(np.mean(same))}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=REPOSITORY / "weights/translation")
    parser.add_argument("--prepared", type=Path, default=REPOSITORY / "data/translation/prepared")
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures there")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    network, _ = load_network(chosen.weights, build, ModelParams)
    store, _ = open_prepared(chosen.prepared)
    test = SentencePairs(store, "test")
    sources = [test.source(example) for example in evenly(len(test), chosen.sentences)]

    def options(beam_size: int, **changes: int) -> dict[str, Any]:
        common = {"beam_size": beam_size, "max_length": chosen.max_length, "batch_size": chosen.batch_size}
        return {**common, **changes}

    figures = {
        f"beam {beam}": compared(network, sources, options(beam, batch_size=1), options(beam), chosen.repeat)
        for beam in BEAMS
    }
    figures |= {
        f"beam {beam}, all ended or the best certain": compared(
            network, sources, options(beam, n_best=beam), options(beam), chosen.repeat
        )
        for beam in BEAMS[1:]
    }
    print(f"{len(sources)} sentences of {chosen.prepared}, {chosen.threads} threads, torch {torch.__version__}\n")
    print("| | one by one (all ended) | in batches | ratio | same answer |\n| --- | --- | --- | --- | --- |")
    for name, found in figures.items():
        print(f"| {name} | {found['first']:.1f} | {found['second']:.1f} | {found['ratio']:.1f} | {found['same']:.3f} |")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

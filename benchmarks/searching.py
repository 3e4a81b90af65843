"""How much faster search is for all sentences and hypotheses at once than for one sentence after the other.

    python -m benchmarks.searching --weights weights/translation --prepared data/translation/prepared
    python -m benchmarks.searching --sentences 500 --batch-size 128 --threads 2 --json searching.json

One trained network, the test split's sentences, one process; the two sides take turns at each setting, `--repeat` times
over, and the best of each counts. Columns: sentences a second one by one, in batches, the ratio, and the share of
sentences that get the same tokens (rounding may turn two that are equally likely). The last rows say what certain
answers save: `--sentences` in batches until all hypotheses have ended, and until the best is certain.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.data.evenly import evenly
from stages.data.prepared import open_prepared
from stages.models.weights import load_network
from stages.tasks.translation.model.network import SentencePairs, Translator, build
from stages.tasks.translation.model.translate import Translation, translate
from stages.tasks.translation.params import ModelParams

from . import command, timing
from .data import REPOSITORY

BEAMS = (1, 5, 10)


def compared(
    network: Translator, sources: list[np.ndarray], one: dict[str, Any], other: dict[str, Any], repeat: int
) -> dict[str, Any]:
    """Sentences a second with two settings of `translate`, in turns, and the share of equal best answers."""
    answers: dict[str, list[list[Translation]]] = {}

    def search(name: str, options: dict[str, Any]) -> None:
        answers[name] = translate(network, sources, **options)

    sides = {"first": partial(search, "first", one), "second": partial(search, "second", other)}
    seconds = timing.alternate(sides, rounds=repeat)
    same = [a[0].tokens == b[0].tokens for a, b in zip(*answers.values(), strict=True)]
    first, second = (len(sources) / min(side.wall) for side in seconds.values())
    return {
        "one by one (all ended)": first,
        "in batches": second,
        "ratio": second / first,
        "same answer": float(np.mean(same)),
    }


def main() -> None:
    """The command line."""
    parser = command.parser("searching", __doc__)
    parser.add_argument("--weights", type=Path, default=REPOSITORY / "weights/translation")
    parser.add_argument("--prepared", type=Path, default=REPOSITORY / "data/translation/prepared")
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    network, _ = load_network(args.weights, build, ModelParams)
    test = SentencePairs(open_prepared(args.prepared)[0], "test")
    sources = [test.source(example) for example in evenly(len(test), args.sentences)]
    print(f"{len(sources)} sentences of {args.prepared}, {args.threads} threads, torch {torch.__version__}\n")
    rows = []
    for name, beams, one_by_one in (("", BEAMS, True), (", all ended or the best certain", BEAMS[1:], False)):
        for beam in beams:
            options = {"beam_size": beam, "max_length": args.max_length, "batch_size": args.batch_size}
            other = options | ({"batch_size": 1} if one_by_one else {"n_best": beam})
            rows.append({"": f"beam {beam}{name}"} | compared(network, sources, other, options, args.repeat))
    print(command.table(rows))
    command.write(args.json, {"rows": rows})


if __name__ == "__main__":
    main()

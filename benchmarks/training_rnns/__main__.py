"""Measures and draws what docs/training-rnns.md and training-settings.md say.

    python -m stages.download sketch && python -m stages.preprocess sketch
    python -m stages.download forecast && python -m stages.preprocess forecast
    python -m benchmarks.training_rnns                     # everything, 14 minutes on one core
    python -m benchmarks.training_rnns clipping padding    # some of it

Each part writes its figure to docs/figures/ and prints its numbers as a table.
"""

from __future__ import annotations

import time

import torch

from .. import command
from .gradients import clipping, memory, reach
from .settings import scaling, settings
from .speed import padding, unrolling

PARTS = {part.__name__: part for part in (clipping, reach, memory, padding, settings, scaling, unrolling)}

if __name__ == "__main__":
    parser = command.parser("training_rnns", __doc__)
    parser.add_argument("parts", nargs="*", help=f"some of: {', '.join(PARTS)}; all if none")
    args = parser.parse_args()
    command.check(parser, args.parts, list(PARTS))
    torch.set_num_threads(1)
    tables = {}
    for name in args.parts or PARTS:
        started = time.perf_counter()
        print(f"## {name}\n", flush=True)
        tables[name] = PARTS[name]()
        print(f"{name} took {time.perf_counter() - started:.0f} s\n", flush=True)
    command.write(args.json, tables)

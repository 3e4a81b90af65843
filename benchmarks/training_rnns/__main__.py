"""Measures and draws what docs/training-rnns.md says.

    python -m stages.download sketch && python -m stages.preprocess sketch
    python -m stages.download forecast && python -m stages.preprocess forecast
    python -m benchmarks.training_rnns                     # everything, about ten minutes
    python -m benchmarks.training_rnns clipping padding    # some of it

Each part writes its figure to docs/figures/ and prints its numbers as a table.
"""

from __future__ import annotations

import argparse
import time

import torch

from .gradients import clipping, memory, reach
from .pictures import gru, lstm
from .scaling import scaling
from .settings import settings
from .speed import padding, unrolling

PARTS = {part.__name__: part for part in (lstm, gru, clipping, reach, memory, padding, settings, scaling, unrolling)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"some of: {', '.join(PARTS)}; all if none")
    chosen = parser.parse_args().parts
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"found {', '.join(unknown)}; allowed: {', '.join(PARTS)}")
    torch.set_num_threads(1)
    for name in chosen:
        started = time.perf_counter()
        print(f"## {name}\n", flush=True)
        PARTS[name]()
        print(f"{name} took {time.perf_counter() - started:.0f} s\n", flush=True)

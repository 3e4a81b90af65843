"""Memory and start of a training on stores of ever more drawings.

The drawings are made up, those of `benchmarks.preprocess --scale`, and prepared as the sketch task's are; always 1,000
of them to validate. Of the peak, what a process owns (anonymous memory) is told apart from pages of mapped files, which
the system takes back when it needs them: libraries, and the store, whose pages count twice since each split maps it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import data, timing

SIZES = (10_000, 100_000, 1_000_000)
CATEGORIES = 50
STEPS = 200
_VALIDATION = 1_000


def run(work: Path, *, quick: bool) -> dict[str, Any]:
    """Megabytes and seconds by the store's number of drawings."""
    figures = {}
    for size in SIZES[:2] if quick else SIZES:
        found: dict[str, float] = timing.in_new_process(train, _store(size, work), time.time())
        figures[str(size)] = {name: round(value, 3) for name, value in found.items()}
        print(f"  {size:,} drawings: {figures[str(size)]}", flush=True)
    return figures


def _store(size: int, work: Path) -> Path:
    """The prepared folder of so many made-up drawings."""
    from stages.data.files import fresh_folder

    from . import preprocess

    final = work / "prepared" / f"made-up-{size}"
    if not final.is_dir():
        print(f"writing {final}", flush=True)
        raw = work / "raw" / final.name / "simplified"
        preprocess.make_up(raw, CATEGORIES, size // CATEGORIES)
        with fresh_folder(final) as folder:
            preprocess.ours(raw / "class 000.ndjson", folder)
    return final


def train(folder: Path, started: float) -> dict[str, float]:
    """Train so many steps, then measure some of the validation split; what it took this process, `started` then."""
    import numpy as np

    from stages.data.prepared import open_prepared
    from stages.data.store import FILE_NAME
    from stages.params import load
    from stages.tasks.sketch.model import network as model
    from stages.training import distributed, inference, loop
    from stages.training.debug_modes import Subset

    params: Any = load(data.REPOSITORY / "params.yaml")["sketch"]
    distributed.configure(seed=1, threads=1)
    network = model.build(params.model, open_prepared(folder)[1])
    imported = time.time()
    training = model.dataset(folder, "train", params, augment=True)
    validation = model.dataset(folder, "validation", params, augment=False)
    opened = time.time()
    steps: list[float] = []

    def stop_requested() -> bool:
        """The engine asks in each step, once the gradient is there."""
        steps.append(time.time())
        return len(steps) == STEPS

    with suppress(loop.Stopped):
        loop.fit(network, training, validation, params.train, stop_requested=stop_requested)
    some = Subset(validation, np.arange(min(len(validation), _VALIDATION)), augment=False)
    inference.measure(network, some, params.train.batch_size)
    return {
        **timing.memory(),
        "store_megabytes": (folder / FILE_NAME).stat().st_size / 2**20,
        "seconds_to_import": imported - started,
        "seconds_to_open": opened - imported,
        "seconds_to_first_step": steps[0] - started,
        "seconds_from_open_to_first_step": steps[0] - opened,
        "milliseconds_a_step": 1000 * (steps[-1] - steps[0]) / (len(steps) - 1),
    }

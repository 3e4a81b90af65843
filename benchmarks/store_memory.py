"""Memory and start of a training on stores of ever more drawings.

    python -m benchmarks.store_memory FOLDER      one training of 200 steps in this process, as a line of JSON

The stores are made up: walks of 10 to 80 points in the sketch task's prepared form, always 1,000 of them to validate.
Of the peak, what a process owns (anonymous memory) is told apart from pages of mapped files, which the system takes
back when it needs them: libraries, and the store, whose pages count twice since each split maps it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import data

SIZES = (10_000, 100_000, 1_000_000)
STEPS = 200
CLASSES = [f"class {number:02d}" for number in range(50)]
_VALIDATION = 1_000
_CHUNK = 10_000


def run(work: Path, *, quick: bool) -> dict[str, Any]:
    """Megabytes and seconds by the store's number of drawings."""
    figures = {}
    for size in SIZES[:2] if quick else SIZES:
        folder = store(size, work)
        command = [sys.executable, "-m", "benchmarks.store_memory", str(folder)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "STARTED": repr(time.time())}
        done = subprocess.run(
            command, cwd=data.REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        figures[str(size)] = json.loads(done.stdout)
        print(f"  {size:,} drawings: {done.stdout.strip()}", flush=True)
    return figures


def store(size: int, work: Path) -> Path:
    """The prepared folder of a made-up store, written as a stream."""
    from stages.data.files import fresh_folder
    from stages.preprocessing.preparation import Preparation
    from stages.tasks.sketch.prepare.prepare import COLUMNS, STEP

    final = work / "prepared" / f"walks-{size}"
    if final.is_dir():
        return final
    print(f"writing {final}", flush=True)
    generator = np.random.default_rng(size)
    with fresh_folder(final) as folder, Preparation(folder, max_rejected_share=0.0) as output:
        with output.store(COLUMNS, metadata={"step": STEP}) as writer:
            for first in range(0, size, _CHUNK):
                numbers = np.arange(first, min(first + _CHUNK, size))
                lengths = generator.integers(10, 80, len(numbers))
                steps = generator.integers(0, 256, (int(lengths.sum()), 3), dtype=np.uint8)
                steps[:, 2] = generator.random(len(steps)) < 0.1
                steps[np.cumsum(lengths) - 1, 2] = 1
                labels = generator.integers(0, len(CLASSES), len(numbers))
                walks = np.split(steps, np.cumsum(lengths)[:-1])
                for number, label, walk in zip(numbers.tolist(), labels.tolist(), walks, strict=True):
                    split = "validation" if number < _VALIDATION else "train"
                    name = CLASSES[label]
                    writer.append(
                        {
                            "id": f"{number:016d}",
                            "split": split,
                            "length": len(walk),
                            "label": name,
                            "word": name,
                            "values": walk,
                        }
                    )
        output.describe({"classes": CLASSES, "step": STEP})
    return final


def train(folder: Path) -> dict[str, float]:
    """Train so many steps, then measure the validation split; what it took."""
    started = float(os.environ["STARTED"])
    from contextlib import suppress

    from stages.data.store import FILE_NAME
    from stages.params import load
    from stages.tasks.sketch.model import network as model
    from stages.tasks.sketch.params import Params
    from stages.training import distributed, inference, loop

    params = load(data.REPOSITORY / "params.yaml")["sketch"]
    assert isinstance(params, Params)
    distributed.configure(seed=1, threads=1)
    network = model.build(params.model, {"classes": CLASSES})
    imported = time.time()
    training = model.dataset(folder, "train", params, augment=True)
    validation = model.dataset(folder, "validation", params, augment=False)
    opened = time.time()
    asked: list[float] = []

    def stop_requested() -> bool:
        """The engine asks in each step, once the gradient is there."""
        asked.append(time.time())
        return len(asked) == STEPS

    with suppress(loop.Stopped):
        loop.fit(network, training, validation, params.train, stop_requested=stop_requested)
    inference.measure(network, validation, params.train.batch_size)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "store_megabytes": (folder / FILE_NAME).stat().st_size / 2**20,
        "anonymous_megabytes": int(status["RssAnon"].split()[0]) / 1024,
        "mapped_megabytes": int(status["RssFile"].split()[0]) / 1024,
        "seconds_to_import": imported - started,
        "seconds_to_open": opened - imported,
        "seconds_to_first_step": asked[0] - started,
        "seconds_from_open_to_first_step": asked[0] - opened,
        "milliseconds_a_step": 1000 * (asked[-1] - asked[0]) / (len(asked) - 1),
    }


if __name__ == "__main__":
    print(json.dumps({name: round(value, 3) for name, value in train(Path(sys.argv[1])).items()}))

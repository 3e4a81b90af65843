"""How fast the registered models answer, once loaded and from the start.

    python -m benchmarks.serving                        the champions of the store, two threads
    python -m benchmarks.serving --threads 1 --repeat 5
    python -m benchmarks.serving --against models:/sketch-classifier/1   that version beside its champion, in turns
    python -m benchmarks.serving --image                 the size of a fresh environment of each model, without CUDA

The rows come from the raw data at hand (`dvc repro` or `dvc checkout`). A single row is asked for 200 times, after 20
that do not count: p50 and p95. Many rows are asked for at once, some times over; the best counts, since what else runs
on a machine only makes it slower. Load times are those of fresh processes, from Python's start to the first answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.tasks.protocol import Task
from stages.tracking.store import store_uri

from . import command, timing
from .data import REPOSITORY

if TYPE_CHECKING:
    import pandas as pd

ROWS = {"sketch": 1000, "video": 100, "translation": 1000, "forecast": 100}  # asked for at once; forecast: series
SINGLE = 200  # rows that are asked for one by one

# In a fresh process: seconds to import, to load, to the first answer.
COLD = """
import json, sys, time
started = time.perf_counter()
import mlflow, pandas as pd
imported = time.perf_counter()
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
loaded = time.perf_counter()
model.predict(pd.DataFrame(json.loads(sys.argv[3])))
print(json.dumps([imported - started, loaded - imported, time.perf_counter() - loaded]))
"""
# Parts of the paths of CUDA's libraries and of what only they need.
_GPU = ("/nvidia/", "/triton/", "/nvidia_", "/triton-", "_cuda", "libtorch_nvshmem", "libcaffe2_nvrtc", "/cuda_")


def frame(task: str, rows: int) -> pd.DataFrame:
    """So many rows for a task's model, out of its raw data; of a series, its last two years."""
    import pandas as pd

    raw = REPOSITORY / "data" / task / "raw"
    if task == "sketch":
        files = [file.open(encoding="utf-8") for file in sorted(raw.glob("simplified/*.ndjson"))]
        lines = (line for several in zip(*files, strict=False) for line in several)
        return pd.DataFrame({"drawing": [json.loads(line)["drawing"] for line in islice(lines, rows)]})
    if task == "video":
        clips = sorted(str(path) for path in raw.rglob("*.mp4"))
        return pd.DataFrame({"path": clips[:: max(1, len(clips) // rows)][:rows]})
    if task == "translation":
        with (raw / "dates.tsv").open(encoding="utf-8") as file:
            return pd.DataFrame({"text": [line.split("\t")[0] for line in islice(file, rows)]})
    days = pd.read_csv(raw / "series.csv").tail(730)
    series = pd.DataFrame({"ds": days["date"].str.replace("/", "-"), "y": days["temp_max"]})
    return pd.concat([series.assign(unique_id=f"s{number}", y=series["y"] + number % 7) for number in range(rows)])


def warm(models: Sequence[tuple[str, str]], repeat: int) -> list[dict[str, Any]]:
    """Load models (address, task) and ask them in turns: a row each."""
    import mlflow.pyfunc

    def ask(address: str, task: str) -> tuple[Callable[[], object], Callable[[], object]]:
        model = mlflow.pyfunc.load_model(address)
        one, many = (partial(model.predict, frame(task, rows)) for rows in (1, ROWS[task]))
        for _ in range(20):
            one()
        many()
        return one, many

    sides = {address: ask(address, task) for address, task in models}
    seconds: dict[str, tuple[list[float], list[float]]] = {address: ([], []) for address in sides}
    for _ in range(repeat):
        for address, (one, many) in sides.items():
            for own, run, rounds in zip(seconds[address], (one, many), (SINGLE // repeat, 1), strict=True):
                own += timing.alternate({"": run}, rounds=rounds)[""].wall
    rows = []
    for address, task in models:
        single, at_once = seconds[address]
        p50, p95 = (1000 * np.quantile(single, [0.5, 0.95])).tolist()
        count, rate = ROWS[task], ROWS[task] / min(at_once)
        row = {"model": address, "one row, p50 ms": p50, "p95 ms": p95}
        rows.append({**row, "rows at once": count, "rows/s (series/s)": rate})
    return rows


def cold(address: str, task: str) -> dict[str, Any]:
    """A model's seconds in a fresh process."""
    row = json.dumps(frame(task, 1).to_dict("records"))
    with tempfile.TemporaryDirectory() as empty:
        program = [sys.executable, "-c", COLD, store_uri(REPOSITORY), address, row]
        started = time.perf_counter()
        printed = subprocess.run(program, cwd=empty, capture_output=True, text=True, check=True).stdout
        whole = time.perf_counter() - started
    columns = ("import, s", "load, s", "first answer, s")
    parts = zip(columns, json.loads(printed.splitlines()[-1]), strict=True)
    return {"model": address, **dict(parts), "whole process, s": whole}


def image(address: str) -> dict[str, Any]:
    """The size of a fresh environment with a model's requirements, without CUDA's libraries and triton.

    A CPU build of torch is not on every index. Where the index has torch with CUDA alone, its libraries of CUDA code
    (`libtorch_cuda*`, `libc10_cuda*`, …) and the packages that only they need are taken off, which leaves what a CPU
    build has, but for `libtorch_cpu`, which differs by some MB.
    """
    import mlflow.pyfunc

    wanted = mlflow.pyfunc.get_model_dependencies(address)
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", environment, "-r", wanted], check=True)
        files = [path for path in environment.rglob("*") if path.is_file() and not path.is_symlink()]
        sizes = {path.as_posix(): path.stat().st_size / 1e6 for path in files}
    needed = {path: size for path, size in sizes.items() if not any(word in path for word in _GPU)}
    return {
        "model": address,
        "as installed, MB": round(sum(sizes.values())),
        "without CUDA, MB": round(sum(needed.values())),
        "of that torch, MB": round(sum(size for path, size in needed.items() if "/torch/" in path)),
    }


def main() -> None:
    """The command line."""
    parser = command.parser("serving", __doc__)
    parser.add_argument("tasks", nargs="*", default=list(ROWS), metavar="TASK", help=", ".join(ROWS))
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--repeat", type=int, default=10, help="turns")
    parser.add_argument("--against", metavar="URI", help="another version of one task's model")
    parser.add_argument("--image", action="store_true", help="measure environments instead of speed")
    args = parser.parse_args()
    command.check(parser, args.tasks, list(ROWS))
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    import mlflow
    import torch

    torch.set_num_threads(args.threads)
    mlflow.set_tracking_uri(store_uri(REPOSITORY))
    models = [(f"models:/{Task(task).description().model_name}@champion", task) for task in args.tasks]
    if args.against and len(models) != 1:
        parser.error("--against: name one task")
    if args.image:
        tables = {"image": [image(address) for address, _ in models]}
    else:
        against = [(args.against, task) for _, task in models if args.against]
        tables = {"warm": warm(models + against, args.repeat), "cold": [cold(*model) for model in models]}
    for rows in tables.values():
        print(command.table(rows))
    command.write(args.json, tables)


if __name__ == "__main__":
    main()

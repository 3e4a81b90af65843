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

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.tasks.protocol import Task
from stages.tracking.store import store_uri

from .data import REPOSITORY

if TYPE_CHECKING:
    import pandas as pd

ROWS = {"sketch": 1000, "video": 100, "translation": 1000, "forecast": 100}  # asked for at once; forecast: series

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


def frame(task: str, rows: int) -> pd.DataFrame:
    """So many rows for a task's model, out of its raw data; of a series, its last two years."""
    import pandas as pd

    raw = REPOSITORY / "data" / task / "raw"
    found: list[dict[str, Any]] = []
    match task:
        case "sketch":
            files = [file.open(encoding="utf-8") for file in sorted(raw.glob("simplified/*.ndjson"))]
            lines = (line for several in zip(*files, strict=False) for line in several)
            found = [{"drawing": json.loads(line)["drawing"]} for line in islice(lines, rows)]
        case "video":
            clips = sorted(str(path) for path in raw.rglob("*.mp4"))
            found = [{"path": clip} for clip in clips[:: max(1, len(clips) // rows)][:rows]]
        case "translation":
            with (raw / "dates.tsv").open(encoding="utf-8") as file:
                found = [{"text": line.split("\t")[0]} for line in islice(file, rows)]
        case "forecast":
            days = pd.read_csv(raw / "series.csv").tail(730)
            dates = [text.replace("/", "-") for text in days["date"]]
            for number in range(rows):
                values = days["temp_max"] + number % 7
                found += [
                    {"unique_id": f"s{number}", "ds": d, "y": y} for d, y in zip(dates, values.tolist(), strict=True)
                ]
    return pd.DataFrame(found)


def warm(address: str, task: str, repeat: int) -> Callable[[], tuple[list[float], float]]:
    """Load a model; returns what measures it: milliseconds of each single row, rows (or series) a second."""
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(address)
    one, many = frame(task, 1), frame(task, ROWS[task])
    for _ in range(20):
        model.predict(one)
    model.predict(many)

    def measure() -> tuple[list[float], float]:
        milliseconds = []
        for _ in range(200 // repeat):
            started = time.perf_counter()
            model.predict(one)
            milliseconds.append(1000 * (time.perf_counter() - started))
        started = time.perf_counter()
        model.predict(many)
        return milliseconds, ROWS[task] / (time.perf_counter() - started)

    return measure


def compare(models: list[tuple[str, str]], repeat: int) -> None:
    """Measure models (address, task) in turns and print a line each."""
    measures = [warm(address, task, repeat) for address, task in models]
    turns = [[measure() for measure in measures] for _ in range(repeat)]
    print("| model | one row, p50 ms | p95 ms | rows at once | rows/s (series/s) |\n|---|---|---|---|---|")
    for number, (address, task) in enumerate(models):
        single = sorted(value for turn in turns for value in turn[number][0])
        rate = max(turn[number][1] for turn in turns)
        p50, p95 = statistics.median(single), single[int(0.95 * len(single))]
        print(f"| `{address}` | {p50:.2f} | {p95:.2f} | {ROWS[task]:,} | {rate:,.0f} |")


def cold(address: str, task: str) -> None:
    """Print a model's seconds in a fresh process."""
    row = json.dumps(frame(task, 1).to_dict("records"))
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, "-c", COLD, store_uri(REPOSITORY), address, row]
        started = time.perf_counter()
        printed = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=True).stdout
        whole = time.perf_counter() - started
    imported, loaded, answered = json.loads(printed.splitlines()[-1])
    print(f"| `{address}` | {imported:.1f} | {loaded:.1f} | {answered:.2f} | {whole:.1f} |")


def image(address: str) -> None:
    """Print the size of a fresh environment with a model's requirements, without CUDA's libraries and triton.

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
        install = [uv, "pip", "install", "--quiet", "--python", environment, "-r", wanted]
        subprocess.run(install, check=True)
        sizes = {
            path: path.stat().st_size for path in environment.rglob("*") if path.is_file() and not path.is_symlink()
        }
    gpu = ("/nvidia/", "/triton/", "/nvidia_", "/triton-", "_cuda", "libtorch_nvshmem", "libcaffe2_nvrtc", "/cuda_")
    needed = sum(size for path, size in sizes.items() if not any(word in path.as_posix() for word in gpu))
    torch = sum(s for p, s in sizes.items() if "/torch/" in p.as_posix() and not any(w in p.as_posix() for w in gpu))
    print(f"| `{address}` | {sum(sizes.values()) / 1e6:,.0f} | {needed / 1e6:,.0f} | {torch / 1e6:,.0f} |")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", default=list(ROWS), metavar="TASK", help=", ".join(ROWS))
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--repeat", type=int, default=10, help="turns")
    parser.add_argument("--against", metavar="URI", help="another version of one task's model")
    parser.add_argument("--image", action="store_true", help="measure environments instead of speed")
    asked = parser.parse_args()
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    import mlflow
    import torch

    torch.set_num_threads(asked.threads)
    mlflow.set_tracking_uri(store_uri(REPOSITORY))
    models = [(f"models:/{Task(task).description().model_name}@champion", task) for task in asked.tasks]
    if asked.against and len(models) != 1:
        parser.error("--against: name one task")
    if asked.image:
        print("| model | as installed, MB | without CUDA, MB | of that torch, MB |\n|---|---|---|---|")
        for address, _ in models:
            image(address)
        return
    compare(models + [(asked.against, task) for _, task in models if asked.against], asked.repeat)
    print("\n| model | import, s | load, s | first answer, s | whole process, s |\n|---|---|---|---|---|")
    for address, task in models:
        cold(address, task)


if __name__ == "__main__":
    main()

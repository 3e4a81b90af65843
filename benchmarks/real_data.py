"""The recipes on real data, over HTTP: what they reach and how long each stage takes.

    python -m benchmarks.real_data quickdraw --data ../shared/data/quickdraw
    python -m benchmarks.real_data ucf101 --data ../shared/data/ucf101
    python -m benchmarks.real_data quickdraw --data ../shared/data/quickdraw --seeds 3     three trainings, seeds 1 to 3

Clones HEAD into a temporary folder, serves `--data` on a free port of 127.0.0.1 in place of the recipe's host, lays the
recipe over params.yaml and runs the stages up to `evaluate` one by one; `train` and `evaluate` again for each further
seed, on the same data and with the same judge.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from stages.recipe import RECIPES, apply, override

from .data import REPOSITORY

VERBS = ("download", "preprocess", "train", "evaluate")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def measure(recipe: str, address: str, clone: Path, seeds: int) -> None:
    """Run one recipe in a clone of HEAD and print seconds a stage, then the metrics, for each seed of the training."""
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    tasks = apply(clone / RECIPES / f"{recipe}.yaml", clone / "params.yaml")
    first, *others = tasks  # a recipe's first task has the data
    override([f"{first}.source.url={address}"], clone / "params.yaml")
    run = functools.partial(subprocess.run, cwd=clone, check=True)
    stages = [(verb, first) for verb in VERBS]
    if others:  # what draws is measured by a judge
        stages += [("judge", first), *((verb, task) for task in others for verb in VERBS[2:])]
    files = [f"metrics/preprocess/{first}.json", *(f"metrics/{task}.json" for task in tasks)]
    for seed in range(1, seeds + 1):
        override([f"{task}.train.seed={seed}" for task in tasks], clone / "params.yaml")
        for verb, task in stages:
            started = time.perf_counter()
            run([sys.executable, "-m", f"stages.{verb}", task], stdout=None if verb == "train" else subprocess.DEVNULL)
            print(f"seed {seed}: {verb}@{task}: {time.perf_counter() - started:.1f} s", flush=True)
        for name in files:
            print(f"seed {seed}: {name}", json.dumps(json.loads((clone / name).read_text(encoding="utf-8")), indent=1))
        stages, files = [(verb, task) for task in tasks for verb in VERBS[2:]], files[-len(tasks) :]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True, help="the folder that stands in for the host")
    parser.add_argument("--file", default="", help="path below the address, such as /fra-eng.zip")
    parser.add_argument("--seeds", type=int, default=1, help="trainings, with seeds from 1 on; default: %(default)s")
    args = parser.parse_args()
    handler = functools.partial(_Quiet, directory=str(args.data.resolve()))
    with (
        tempfile.TemporaryDirectory() as folder,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}{args.file}"
            measure(args.recipe, address, Path(folder, "clone"), args.seeds)
        finally:
            server.shutdown()


if __name__ == "__main__":
    main()

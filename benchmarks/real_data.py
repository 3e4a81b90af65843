"""The recipes on real data, over HTTP: what they reach and how long each stage takes.

    python -m benchmarks.real_data quickdraw
    python -m benchmarks.real_data ucf101 --data ../shared/data/ucf101
    python -m benchmarks.real_data quickdraw --seeds 3     three trainings, seeds 1 to 3, and their means
    python -m benchmarks.real_data multi30k --clone FOLDER     keep the weights and the prepared data
    python -m benchmarks.real_data multi30k --override translation.train.precision=float32     another setting

Clones HEAD into a temporary folder, or `--clone`, serves `--data` on a free port of 127.0.0.1 in place of the recipe's
host, lays the recipe over params.yaml and runs the stages up to `evaluate` one by one; `train` and `evaluate` again for
each further seed, on the same data and with the same judge. The mean of the seeds' intervals is the mean of their
bounds.
"""

from __future__ import annotations

import functools
import http.server
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.evaluation.report import HIGH, LOW
from stages.recipe import RECIPES, apply, override

from . import command
from .data import REPOSITORY

VERBS = ("download", "preprocess", "train", "evaluate")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def measure(recipe: str, address: str, clone: Path, seeds: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Run one recipe, with overrides, in a clone of HEAD: the report of the preparation, the seconds of each stage and
    the metrics, both by seed, and the means of the metrics over the seeds.
    """
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    tasks = apply(clone / RECIPES / f"{recipe}.yaml", clone / "params.yaml")
    first, *others = tasks  # a recipe's first task has the data
    override([f"{first}.source.url={address}", *overrides], clone / "params.yaml")
    run = functools.partial(subprocess.run, cwd=clone, check=True)
    stages = [(verb, first) for verb in VERBS]
    if others:  # what draws is measured by a judge
        stages += [("judge", first), *((verb, task) for task in others for verb in VERBS[2:])]
    seconds: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    for seed in range(1, seeds + 1):
        override([f"{task}.train.seed={seed}" for task in tasks], clone / "params.yaml")
        for verb, task in stages:
            started, processor = time.perf_counter(), _processor_seconds()
            run([sys.executable, "-m", f"stages.{verb}", task], stdout=None if verb == "train" else subprocess.DEVNULL)
            took = {"seconds": time.perf_counter() - started, "processor_seconds": _processor_seconds() - processor}
            seconds.append({"stage": f"{verb}@{task}", "seed": seed, **took})
            print(f"seed {seed}: {verb}@{task}: {took['seconds']:.1f} s", flush=True)
        for task in tasks:
            found = json.loads((clone / f"metrics/{task}.json").read_text(encoding="utf-8"))
            metrics.append({"task": task, "seed": str(seed), **with_intervals(found)})
            print(json.dumps(metrics[-1], indent=1), flush=True)
        stages = [(verb, task) for task in tasks for verb in VERBS[2:]]
    if seeds > 1:
        by_task = [[row for row in metrics if row["task"] == task] for task in tasks]
        metrics += [{"task": rows[0]["task"], "seed": "mean", **command.mean(rows)} for rows in by_task]
    prepared = json.loads((clone / f"metrics/preprocess/{first}.json").read_text(encoding="utf-8"))
    return {"recipe": recipe, "prepared": prepared, "seconds": seconds, "metrics": metrics}


def _processor_seconds() -> float:
    """Of all processes that this one started and that have ended, with those that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def with_intervals(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A metrics file with each interval beside its value: `{"value", "low", "high"}`."""
    bounds = {name + end for name in metrics for end in (LOW, HIGH)}
    return {
        name: {"value": value, "low": metrics[name + LOW], "high": metrics[name + HIGH]}
        if name + LOW in metrics
        else value
        for name, value in metrics.items()
        if name not in bounds
    }


def main() -> None:
    """The command line."""
    parser = command.parser("real_data", __doc__)
    parser.add_argument("recipe")
    parser.add_argument(
        "--data", type=Path, help="the folder that stands in for the host; default: ../shared/data/RECIPE"
    )
    parser.add_argument("--file", default="", help="path below the address, such as /fra-eng.zip")
    parser.add_argument("--clone", type=Path, help="a new folder to clone into; default: a temporary one")
    parser.add_argument(
        "--override", nargs="*", default=[], metavar="TASK.BLOCK.KEY=VALUE", help="settings other than the recipe's"
    )
    parser.add_argument("--seeds", type=int, default=1, help="trainings, with seeds from 1 on; default: %(default)s")
    args = parser.parse_args()
    source = args.data or REPOSITORY.parent / "shared" / "data" / args.recipe
    if not source.is_dir():
        parser.error(f"--data: found {source}; allowed: a folder that is there")
    handler = functools.partial(_Quiet, directory=str(source.resolve()))
    with (
        tempfile.TemporaryDirectory() as folder,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}{args.file}"
            found = measure(args.recipe, address, args.clone or Path(folder, "clone"), args.seeds, args.override)
        finally:
            server.shutdown()
    command.write(args.json, {"machine": command.machine(), **found})


if __name__ == "__main__":
    main()

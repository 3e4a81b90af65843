"""The recipes on real data, over HTTP: what they reach and how long each stage takes.

    python -m benchmarks.real_data quickdraw --data ../shared/data/quickdraw
    python -m benchmarks.real_data ucf101 --data ../shared/data/ucf101

Clones HEAD into a temporary folder, serves `--data` on a free port of 127.0.0.1 in place of the recipe's host, lays the
recipe over params.yaml and runs the stages up to `evaluate` one by one.
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


def measure(recipe: str, address: str, clone: Path) -> None:
    """Run one recipe in a clone of HEAD and print seconds a stage, then the metrics."""
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    tasks = apply(clone / RECIPES / f"{recipe}.yaml", clone / "params.yaml")
    first, *others = tasks  # a recipe's first task has the data
    override([f"{first}.source.url={address}"], clone / "params.yaml")
    run = functools.partial(subprocess.run, cwd=clone, check=True)
    stages = [(verb, first) for verb in VERBS]
    if others:  # what draws is measured by a judge
        stages += [("judge", first), *((verb, task) for task in others for verb in VERBS[2:])]
    for verb, task in stages:
        started = time.perf_counter()
        run([sys.executable, "-m", f"stages.{verb}", task], stdout=None if verb == "train" else subprocess.DEVNULL)
        print(f"{verb}@{task}: {time.perf_counter() - started:.1f} s", flush=True)
    for name in (f"metrics/preprocess/{first}.json", *(f"metrics/{task}.json" for task in tasks)):
        print(name, json.dumps(json.loads((clone / name).read_text(encoding="utf-8")), indent=1))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True, help="the folder that stands in for the host")
    parser.add_argument("--file", default="", help="path below the address, such as /fra-eng.zip")
    args = parser.parse_args()
    handler = functools.partial(_Quiet, directory=str(args.data.resolve()))
    with (
        tempfile.TemporaryDirectory() as folder,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            measure(args.recipe, f"http://127.0.0.1:{server.server_address[1]}{args.file}", Path(folder, "clone"))
        finally:
            server.shutdown()


if __name__ == "__main__":
    main()

"""What a Ray cluster costs beside the processes of one machine, and what a second node brings.

    python -m benchmarks.cluster                           three rounds, some 20 minutes on two idle cores
    python -m benchmarks.cluster --rounds 1                a first look

Stages in a clone of HEAD, whole commands: `preprocess@sketch` of the sample, of the real drawings in `--data` and of
each of these so many times (one process prepares up to 64 MB, with a cluster or without); `preprocess@video` of the
sample's clips; `train@sketch` of the sample, two epochs, in one rank and in two. Sides, in turn in each round: this
machine's processes, then nodes that `ray start` starts on this machine, a CPU each, which see the clone. Nodes of one
machine share its cores, so two of them show no more speed than two processes could.

Figures are seconds by the clock, medians: Ray's processes end unseen, so nobody could add up their processor time.
`same_bytes`: all sides wrote the same store, or the same weights.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from stages.provenance.hashes import file_md5
from stages.recipe import override

from . import command
from .data import REPOSITORY
from .machine import free_port
from .preprocess import enlarge
from .ray_node import HERE, start_node

_PER_CATEGORY = 200  # of the sample: a training of seconds, since it is the beginning and the end that cost more
_SIDES = ("processes", "1 node", "2 nodes")


class Nodes:
    """Nodes on this machine."""

    def __init__(self, folder: Path) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self._folder = folder
        self.address = f"{HERE}:{free_port()}"

    def add(self) -> None:
        """Start a node, the first one as the head."""
        options = ["--object-store-memory=500000000"]
        if not self.started:
            options += ["--head", f"--temp-dir={self._folder}/r", "--include-dashboard=false"]
        log = self._folder / f"{len(self.started)}.log"
        self.started.append(start_node(log, self.address, *options, environment=os.environ))

    def stop(self) -> None:
        """End the nodes, the head last."""
        for node in reversed(self.started):
            processes = psutil.Process(node.pid).children(recursive=True)
            node.terminate()
            node.wait()
            _, alive = psutil.wait_procs(processes, timeout=10)
            for process in alive:
                process.kill()


@contextmanager
def cluster() -> Iterator[Nodes]:
    """Nodes to be added, which are gone after the block."""
    # A short path: sockets lie below it, and their addresses are 107 bytes at the most.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        nodes = Nodes(Path(folder))
        try:
            yield nodes
        finally:
            nodes.stop()


class Checkout:
    """A clone of HEAD, in which stages run as a person would run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
        self._set(f"source.per_category={_PER_CATEGORY}")
        self._set("train.epochs=2")
        self._set("prepare.max_rejected_share=0.5")  # some drawings are as symmetric as their copies
        self.sample = self._download("sketch")
        self.clips = self._download("video")

    def preprocess(self, task: str, raw: Path, variables: Mapping[str, str]) -> str:
        """Prepare these raw files, none of whose parts is there from before; a hash of the store."""
        link = self.folder / "data" / task / "raw"
        link.unlink(missing_ok=True)
        link.symlink_to(raw)
        resume = self.folder / "resume"
        shutil.rmtree(resume, ignore_errors=True)
        self._run("preprocess", task, {"UNROLL_RESUME": str(resume), **variables})
        return file_md5(self.folder / "data" / task / "prepared/sequences.arrow")

    def train(self, ranks: int, variables: Mapping[str, str]) -> str:
        """Train on what was prepared last; a hash of the weights."""
        self._set(f"train.ranks={ranks}")
        self._run("train", "sketch", variables)
        return file_md5(self.folder / "weights/sketch/measured/weights.safetensors")

    def _set(self, text: str) -> None:
        override([f"sketch.{text}"], self.folder / "params.yaml")

    def _download(self, task: str) -> Path:
        """The sample's raw files, beside the clone."""
        self._run("download", task, {})
        raw = self.folder.with_name(f"{task}-sample")
        (self.folder / "data" / task / "raw").rename(raw)
        return raw

    def _run(self, verb: str, task: str, variables: Mapping[str, str]) -> None:
        arguments = [sys.executable, "-m", f"stages.{verb}", task]
        environment = {**os.environ, **variables}
        done = subprocess.run(arguments, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{verb}@{task} ended with {done.returncode}: {done.stderr}")


def measure(work: Path, data: Path, *, copies: int, rounds: int) -> dict[str, Any]:
    """Seconds of each row and side."""
    real, many = work / "real", work / "many"
    counts = {}
    for folder, times in ((real, 1), (many, copies)):
        counts[folder.name] = enlarge(data, folder / "simplified" / "drawings.ndjson", times)
    checkout = Checkout(work / "clone")
    rows: dict[str, Callable[[Mapping[str, str]], str]] = {
        "preprocess, the sample's clips": partial(checkout.preprocess, "video", checkout.clips),
        f"preprocess, {counts['many']:,} drawings": partial(checkout.preprocess, "sketch", many),
        f"preprocess, {counts['real']:,} real drawings": partial(checkout.preprocess, "sketch", real),
        # The last drawings, which are trained on.
        "preprocess, the sample's drawings": partial(checkout.preprocess, "sketch", checkout.sample),
        "train, 1 rank": partial(checkout.train, 1),
        "train, 2 ranks": partial(checkout.train, 2),
    }
    runs: dict[str, dict[str, list[tuple[float, str]]]] = {name: defaultdict(list) for name in rows}
    for _ in range(rounds):
        with cluster() as nodes:
            for side in _SIDES:
                if side != _SIDES[0]:
                    nodes.add()
                for name, run in rows.items():
                    if (name, side) == ("train, 2 ranks", _SIDES[1]):  # more than it has CPUs
                        continue
                    runs[name][side].append(_timed(run, nodes))
                    print(f"{name}, {side}: {runs[name][side][-1][0]:.1f} s", file=sys.stderr, flush=True)
    return {name: _row(sides) for name, sides in runs.items()}


def _timed(run: Callable[[Mapping[str, str]], str], nodes: Nodes) -> tuple[float, str]:
    """Seconds of a command, on the nodes where there are any, and the hash of what it writes."""
    started = time.perf_counter()
    written = run({"UNROLL_RAY": nodes.address} if nodes.started else {})
    return time.perf_counter() - started, written


def _row(sides: Mapping[str, list[tuple[float, str]]]) -> dict[str, Any]:
    figures: dict[str, Any] = {side: round(median(second for second, _ in runs), 1) for side, runs in sides.items()}
    figures["same_bytes"] = len({written for runs in sides.values() for _, written in runs}) == 1
    return figures


def main() -> None:
    """The command line."""
    parser = command.parser("cluster", __doc__, host="quickdraw")
    parser.add_argument("--copies", type=int, default=96, help="of each real drawing, for the large file (96)")
    parser.add_argument("--rounds", type=int, default=3, help="of all sides (3)")
    args = parser.parse_args()
    command.on_cpu()
    with tempfile.TemporaryDirectory() as folder:
        data = args.data / "full" / "simplified"
        figures = measure(Path(folder), data, copies=args.copies, rounds=args.rounds)
    print(command.table([{"seconds": name, **row} for name, row in figures.items()]))
    print(command.machine())
    command.write(args.json, figures)


if __name__ == "__main__":
    main()

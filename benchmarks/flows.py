"""What the flows cost, and what they gain: the sample pipeline by `dvc repro` and by Prefect, in turn.

    python -m benchmarks.flows [--json FILE] [--repeat N]       some 15 minutes on two cores
    python -m benchmarks.flows --up-to-date                     two minutes: the outputs out of this checkout's cache

Each side starts in a fresh clone of HEAD with an empty cache, `threads: 1`. Then both are asked again with all up to
date, beside a flow of as many tasks that do nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from flows.server.servers import Servers
from stages.recipe import override
from stages.tasks.protocol import Task

from . import command
from .machine import free_port

DVC = [sys.executable, "-m", "dvc"]
REPRO = [*DVC, "repro", "--quiet"]
FLOW = [sys.executable, "-m", "flows.run", "--where", "here"]
UP_TO_DATE = ("empty_command", "empty_flow", "command_up_to_date", "flow_up_to_date", "dvc_repro_up_to_date")
OUTPUTS = (".dvc/cache", "data", "weights", "metrics", "plots", "profiles", "receipts", "mlartifacts", ".resume")
_EMPTY_FLOW = """
import sys
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

@task(cache_policy=NO_CACHE, persist_result=False)
def nothing() -> None:
    pass

@flow(persist_result=False)
def empty() -> None:
    for future in [nothing.submit() for _ in range(int(sys.argv[1]))]:
        future.wait()

empty()
"""


def clone(folder: Path) -> Path:
    """A fresh clone of HEAD with one thread for each stage, nothing cached, dvc.lock of another machine forgotten."""
    subprocess.run(["git", "clone", "--quiet", str(Path.cwd()), str(folder)], check=True)
    single = [f"{task}.train.threads=1" for task in Task.names()]
    override([*single, "forecast.evaluate.processes=1"], folder / "params.yaml")
    (folder / "dvc.lock").unlink()
    return folder


@contextmanager
def serving(folder: Path) -> Iterator[Servers]:
    """Servers for a clone on free ports, inside the block."""
    servers = Servers(folder, prefect_port=free_port(), mlflow_port=free_port())
    servers.up()
    try:
        yield servers
    finally:
        servers.down()


def timed(program: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> float:
    """Seconds of a command that must succeed."""
    start = time.perf_counter()
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(program)} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - start


def flow_seconds(servers: Servers, name: str) -> float:
    """Seconds of the newest run of a flow, as the server has them: from its start to its end."""
    body = {"flows": {"name": {"any_": [name]}}, "sort": "START_TIME_DESC", "limit": 1}
    run = httpx.post(f"{servers.prefect}/api/flow_runs/filter", json=body).raise_for_status().json()[0]
    start, end = (datetime.fromisoformat(run[name]) for name in ("start_time", "end_time"))
    return (end - start).total_seconds()


def measure(work: Path, repeat: int) -> dict[str, Any]:
    """All numbers, in seconds."""
    serial, parallel = clone(work / "serial"), clone(work / "flows")
    found: dict[str, Any] = {"dvc_repro": timed(REPRO, serial)}
    with serving(parallel) as servers:
        for stages in (2, 1):
            for name in OUTPUTS:
                shutil.rmtree(parallel / name, ignore_errors=True)
            for name in ("dvc.lock", "mlflow.db"):
                (parallel / name).unlink(missing_ok=True)
            timed([*FLOW, "--parallel", str(stages)], parallel, servers.environment)
            found[f"flow_parallel_{stages}"] = flow_seconds(servers, "pipeline")
            found[f"same_lock_{stages}"] = (parallel / "dvc.lock").read_bytes() == (serial / "dvc.lock").read_bytes()
        return found | up_to_date(servers, parallel, repeat)


def measure_up_to_date(work: Path, repeat: int) -> dict[str, Any]:
    """What runs without anything to do take, in seconds. Ends where this checkout's cache lacks outputs."""
    folder = work / "flows"
    subprocess.run(["git", "clone", "--quiet", str(Path.cwd()), str(folder)], check=True)
    cache = subprocess.run([*DVC, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    timed([*DVC, "cache", "dir", "--local", str(Path.cwd() / cache)], folder)
    timed([*DVC, "checkout", "--quiet"], folder)
    with serving(folder) as servers:
        timed(FLOW, folder, servers.environment)  # registers
        return up_to_date(servers, folder, repeat)


def up_to_date(servers: Servers, folder: Path, repeat: int) -> dict[str, list[float]]:
    """Seconds of a flow of 20 empty tasks, of the pipeline with nothing to do, and of `dvc repro`, in turn.

    Of flows, the whole command, and the run alone as the server has it.
    """
    found: dict[str, list[float]] = {name: [] for name in UP_TO_DATE}
    script = folder.parent / "empty_flow.py"
    script.write_text(_EMPTY_FLOW, encoding="utf-8")
    for _ in range(repeat):
        found["empty_command"].append(timed([sys.executable, str(script), "20"], folder, servers.environment))
        found["empty_flow"].append(flow_seconds(servers, "empty"))
        found["command_up_to_date"].append(timed(FLOW, folder, servers.environment))
        found["flow_up_to_date"].append(flow_seconds(servers, "pipeline"))
        found["dvc_repro_up_to_date"].append(timed(REPRO, folder))
    return found


def table(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers set against each other: seconds, of what is repeated the medians, and how many times as fast."""
    rows: list[dict[str, Any]] = []
    if "dvc_repro" in found:
        serial, one, two = found["dvc_repro"], found["flow_parallel_1"], found["flow_parallel_2"]
        rows = [
            {"from an empty cache": "dvc repro", "seconds": serial},
            {"from an empty cache": "flow, one stage at a time", "seconds": one, "times dvc repro": serial / one},
            {
                "from an empty cache": "flow, two at a time",
                "seconds": two,
                "times dvc repro": serial / two,
                "times one at a time": one / two,
            },
        ]
    middle = {name: median(found[name]) for name in UP_TO_DATE}
    return [
        *rows,
        {"up to date": "20 empty tasks", "command, s": middle["empty_command"], "run, s": middle["empty_flow"]},
        {
            "up to date": "flow",
            "command, s": middle["command_up_to_date"],
            "run, s": middle["flow_up_to_date"],
            "command, s more": middle["command_up_to_date"] - middle["empty_command"],
            "run, s more": middle["flow_up_to_date"] - middle["empty_flow"],
        },
        {"up to date": "dvc repro", "command, s": middle["dvc_repro_up_to_date"]},
    ]


def main() -> None:
    """The command line."""
    parser = command.parser("flows", __doc__)
    parser.add_argument("--repeat", type=int, default=5, help="of what is up to date")
    parser.add_argument("--up-to-date", action="store_true", help="only what runs with nothing to do take")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        found = (measure_up_to_date if args.up_to_date else measure)(Path(work), args.repeat)
    found["table"] = table(found)
    print(json.dumps(found, indent=2))
    command.write(args.json, found)


if __name__ == "__main__":
    main()

"""What the flows cost, and what they gain: the sample pipeline by `dvc repro` and by Prefect, in turn.

    python -m benchmarks.flows [--json FILE] [--repeat N]       some 15 minutes on two cores
    python -m benchmarks.flows --up-to-date                     two minutes: the outputs out of this checkout's cache

Each side starts in a fresh clone of HEAD with an empty cache, `threads: 1`. Then both are asked again with all up to
date, beside a flow of as many tasks that do nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from flows.server.servers import Servers
from stages.paths import program_path
from stages.recipe import override
from stages.tasks.protocol import Task

UP_TO_DATE = ("empty_command", "empty_flow", "command_up_to_date", "flow_up_to_date", "dvc_repro_up_to_date")
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


def timed(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> float:
    """Seconds of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": program_path(), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - start


def flow_seconds(servers: Servers, name: str) -> float:
    """Seconds of the newest run of a flow, as the server has them: from its start to its end."""
    body = {"flows": {"name": {"any_": [name]}}, "sort": "START_TIME_DESC", "limit": 1}
    run = httpx.post(f"{servers.prefect}/api/flow_runs/filter", json=body).raise_for_status().json()[0]
    start, end = (datetime.fromisoformat(run[name]) for name in ("start_time", "end_time"))
    return (end - start).total_seconds()


def measure(work: Path, repeat: int) -> dict[str, Any]:
    """All numbers, in seconds."""
    dvc = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    flow = [sys.executable, "-m", "flows.run", "--where", "here", "--parallel"]
    serial = clone(work / "serial")
    found: dict[str, Any] = {"dvc_repro": timed(dvc, serial)}
    house = clone(work / "flows")
    servers = Servers(house, prefect_port=_free_port(), mlflow_port=_free_port())
    servers.up()
    try:
        for parallel in (2, 1):
            timed([*flow, str(parallel)], house, servers.environment)
            found[f"flow_parallel_{parallel}"] = flow_seconds(servers, "pipeline")
            same = (house / "dvc.lock").read_bytes() == (serial / "dvc.lock").read_bytes()
            found[f"same_lock_{parallel}"] = same
            if parallel == 2:
                _forget(house)
        return found | up_to_date(servers, house, repeat)
    finally:
        servers.down()


def measure_up_to_date(work: Path, repeat: int) -> dict[str, Any]:
    """What runs without anything to do take, in seconds. Ends where this checkout's cache lacks outputs."""
    house = work / "flows"
    subprocess.run(["git", "clone", "--quiet", str(Path.cwd()), str(house)], check=True)
    cache = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=True)
    timed([sys.executable, "-m", "dvc", "cache", "dir", "--local", str(Path.cwd() / cache.stdout.strip())], house)
    timed([sys.executable, "-m", "dvc", "checkout", "--quiet"], house)
    servers = Servers(house, prefect_port=_free_port(), mlflow_port=_free_port())
    servers.up()
    try:
        timed([sys.executable, "-m", "flows.run", "--where", "here"], house, servers.environment)  # registers
        return up_to_date(servers, house, repeat)
    finally:
        servers.down()


def up_to_date(servers: Servers, house: Path, repeat: int) -> dict[str, list[float]]:
    """Seconds of a flow of 20 empty tasks, of the pipeline with nothing to do, and of `dvc repro`, in turn.

    Of flows, the whole command, and the run alone as the server has it.
    """
    found: dict[str, list[float]] = {name: [] for name in UP_TO_DATE}
    script = house.parent / "empty_flow.py"
    script.write_text(_EMPTY_FLOW, encoding="utf-8")
    for _ in range(repeat):
        found["empty_command"].append(timed([sys.executable, str(script), "20"], house, servers.environment))
        found["empty_flow"].append(flow_seconds(servers, "empty"))
        command = [sys.executable, "-m", "flows.run", "--where", "here"]
        found["command_up_to_date"].append(timed(command, house, servers.environment))
        found["flow_up_to_date"].append(flow_seconds(servers, "pipeline"))
        found["dvc_repro_up_to_date"].append(timed([sys.executable, "-m", "dvc", "repro", "--quiet"], house))
    return found


def _forget(folder: Path) -> None:
    for name in ("dvc.lock", "mlflow.db"):
        (folder / name).unlink(missing_ok=True)
    for name in (".dvc/cache", "data", "weights", "metrics", "plots", "receipts", "mlartifacts", ".resume"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def show(found: Mapping[str, Any]) -> None:
    """The numbers as a table."""
    if "dvc_repro" in found:
        _show_runs(found)
    median = {name: statistics.median(found[name]) for name in UP_TO_DATE}
    for name, seconds in median.items():
        print(f"{name.replace('_', ' '):<30} {seconds:7.1f} s   median of {len(found[name])}")
    command, run = (median[f"{kind}_up_to_date"] - median[f"empty_{kind}"] for kind in ("command", "flow"))
    print(f"added to 20 empty tasks        {command:7.1f} s to the whole command, {run:.1f} s to the run alone")


def _show_runs(found: Mapping[str, Any]) -> None:
    serial, one, two = found["dvc_repro"], found["flow_parallel_1"], found["flow_parallel_2"]
    print(f"dvc repro                      {serial:7.1f} s")
    print(f"flow, one stage at a time      {one:7.1f} s   {(one - serial) / 20:.2f} s a stage more")
    print(f"flow, two at a time            {two:7.1f} s   {serial / two:.2f} x, {one / two:.2f} x of one at a time")
    print(f"dvc.lock the same              {found['same_lock_1'] and found['same_lock_2']}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--repeat", type=int, default=5, help="of what is up to date")
    parser.add_argument("--up-to-date", action="store_true", help="only what runs with nothing to do take")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        found = (measure_up_to_date if chosen.up_to_date else measure)(Path(work), chosen.repeat)
    show(found)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()

"""How fast training is, each number beside what it is compared with, measured in the same run.

    python -m benchmarks.training                       keras, loop, ranks and memory; 20 minutes on two cores
    python -m benchmarks.training loop ranks            some of them
    python -m benchmarks.training profile sketch video  where the time of a task's steps goes
    python -m benchmarks.training keras --quick         a few steps, to see that it runs; the numbers say nothing

    keras    a textbook's classifier in Keras against the same network trained by our engine, on real drawings
    loop     the engine against a bare PyTorch loop on the same batches
    ranks    two ranks of one thread against one rank of two threads
    memory   peak memory and time to the first step on stores of 10 thousand to a million drawings
    profile  30 steps of each TASK under torch.profiler; writes profiles/TASK/trace.json

All on the CPU. What is downloaded, prepared or installed for it lies below `--work` and is used again.
"""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import command

PARTS = ("keras", "loop", "ranks", "memory")
PROFILE = "profile"
SAMPLES = ("sketch", "video", "translation", "forecast")
RANKED = ("sketch", "video")


def main() -> None:
    """The command line."""
    parser = command.parser("training", __doc__, host="quickdraw")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; or {PROFILE} and tasks")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    chosen = parser.parse_args()
    parts = chosen.parts or list(PARTS)
    tasks = parts[1:] if parts[0] == PROFILE else []
    if parts == [PROFILE]:
        parser.error(f"found no task; allowed: {', '.join(SAMPLES)}")
    command.allowed(parser, tasks or parts, SAMPLES if tasks else PARTS)
    # Before torch loads; the benchmarks are about the CPU.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    command.in_parts(
        [PROFILE] if tasks else parts,
        lambda part: run(part, tasks, chosen),
        chosen.json,
        machine=machine(),
        quick=chosen.quick,
    )


def run(part: str, tasks: list[str], chosen: argparse.Namespace) -> dict[str, Any]:
    """One part's figures, as JSON."""
    work = chosen.work.resolve()
    if part == "keras":
        from . import textbook

        return textbook.run(work, source=chosen.data, quick=chosen.quick)
    if part == "loop":
        from . import engine_overhead

        return engine_overhead.run(work, tasks=SAMPLES, quick=chosen.quick)
    if part == "ranks":
        from . import rank_scaling

        return rank_scaling.run(work, tasks=RANKED, quick=chosen.quick)
    if part == "memory":
        from . import store_memory

        return store_memory.run(work, quick=chosen.quick)
    from . import operators

    return operators.run(work, tasks=tasks)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()

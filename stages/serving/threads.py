"""How many of torch's threads an answer is computed with. Travels inside a registered model.

OpenMP's threads wait for each other many times in a small network, and by default they spin while they wait: where
another program, or a container's quota, holds one of them up, an answer takes ten times as long. So a few rows are
answered by one thread, and many by more than one only where threads sleep while they wait (OMP_WAIT_POLICY=PASSIVE,
which has to be set before torch is loaded: our commands and servers do), up to what this process may use.
UNROLL_THREADS decides otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath

from .served import is_served

if is_served() and "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def threads(*, few: bool) -> Iterator[None]:
    """The block computes with as many threads as fit `few` rows or many, and leaves torch's setting as it was.

    Raises ValueError where UNROLL_THREADS is no whole number from 1 on.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(chosen(few=few))  # a microsecond; OpenMP keeps the number for each thread that asks
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chosen(*, few: bool) -> int:
    """The number of threads; see `threads`."""
    if wanted := os.environ.get("UNROLL_THREADS"):
        if not (wanted.isdecimal() and int(wanted) > 0):
            raise ValueError(f"UNROLL_THREADS: found {wanted!r}; allowed: a whole number of 1 or more")
        return int(wanted)
    sleeping = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    return 1 if few or not sleeping else processors()


@cache
def processors() -> int:
    """Whole processors that this process may use: by its affinity, and by the quota of its control groups."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(affinity, quota())))


def quota(proc: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> float:
    """The smallest quota of processors of this process' control groups, in versions 1 and 2; no bound is infinity.

    In a container the groups' own paths may lead nowhere: then its own group lies at the top.
    """
    smallest = float("inf")
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except OSError:
        return smallest
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / controllers if controllers else groups
        place = PurePosixPath(path)
        for group in (place, *place.parents):
            smallest = min(smallest, _quota(root / group.relative_to("/")))
    return smallest


def _quota(folder: Path) -> float:
    """The quota that one group sets: `cpu.max` (version 2), or `cpu.cfs_quota_us` of each `cpu.cfs_period_us`."""
    try:
        if (file := folder / "cpu.max").exists():
            allowed, period = file.read_text(encoding="utf-8").split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            allowed, period = ((folder / name).read_text(encoding="utf-8").strip() for name in names)
        return int(allowed) / int(period) if int(allowed) > 0 else float("inf")
    except (OSError, ValueError, ZeroDivisionError):  # no such group, or `max`
        return float("inf")

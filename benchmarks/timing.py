"""Sides that are timed in alternating rounds, so that whatever else runs on the machine slows all alike."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import psutil

_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of one side by round: by the clock, and of the processor in this process and in those it has waited for."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def alternate(sides: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 0) -> dict[str, Seconds]:
    """Run all sides once a round, and time all rounds but the first `warm_up` ones."""
    seconds = {name: Seconds() for name in sides}
    for number in range(warm_up + rounds):
        for name, run in sides.items():
            started, processor_before = time.perf_counter(), processor_seconds()
            run()
            if number >= warm_up:
                seconds[name].wall.append(time.perf_counter() - started)
                seconds[name].processor.append(processor_seconds() - processor_before)
    return seconds


def speed_up(base: list[float], own: list[float]) -> float:
    """How many times as fast as `base` a side is: the median of each round's ratio."""
    return round(median(theirs / ours for theirs, ours in zip(base, own, strict=True)), 3)


def compared(seconds: Mapping[str, Seconds], name: str, bases: Sequence[str], count: int) -> dict[str, Any]:
    """One side's figures, printed too: `count` things a second, how many times as fast as each base, all seconds."""
    own = seconds[name]
    figures: dict[str, Any] = {"a_second": round(count / median(own.wall))}
    for base in bases:
        figures[f"times_{base}"] = speed_up(seconds[base].wall, own.wall)
        figures[f"times_{base}_in_processor_time"] = speed_up(seconds[base].processor, own.processor)
    figures["seconds"] = [round(value, 2) for value in own.wall]
    print(f"{name:22s} {json.dumps(figures)}", flush=True)
    return figures


def processor_seconds() -> float:
    """Of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def in_new_process(run: Callable[..., Any], *args: Any) -> Any:
    """What a function returns in a process of its own, started afresh."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, *args).result()


def memory() -> dict[str, float]:
    """Megabytes of this process: its peak, and now what it owns and which pages of mapped files it has looked at.

    The peak is that of the program: `ru_maxrss` would hold what the process that started it had.
    """
    status = _status(os.getpid())
    return {
        "peak_megabytes": status["VmHWM"],
        "anonymous_megabytes": status["RssAnon"],
        "mapped_megabytes": status["RssFile"],
    }


@contextmanager
def peaks_of_children() -> Iterator[dict[int, float]]:
    """The peak memory in megabytes of each process that this one starts meanwhile, by its number; looked at ten times
    a second, so what a process takes in its last moment may be missed.
    """
    peaks: dict[int, float] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            for child in psutil.Process().children():
                with suppress(OSError, KeyError):  # it has ended
                    peaks[child.pid] = _status(child.pid)["VmHWM"]

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def _status(process: int) -> dict[str, float]:
    """What the kernel tells of a process's memory, in megabytes."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return {
        name: int(value.split()[0]) / 1024
        for name, _, value in (line.partition(":") for line in lines)
        if value.endswith(" kB")
    }

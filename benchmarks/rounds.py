"""Sides that are measured in alternating rounds, so that whatever else runs hits all alike."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """Of each side by round: by the clock, and of the processor in this process and those it has waited for."""

    wall: dict[str, list[float]]
    processor: dict[str, list[float]]

    def a_second(self, name: str, count: int) -> int:
        """How many of `count` things a side did in a second, in its median round."""
        return round(count / statistics.median(self.wall[name]))

    def rounded(self, name: str) -> list[float]:
        """A side's seconds by the clock."""
        return [round(value, 2) for value in self.wall[name]]


def alternating(sides: Mapping[str, Callable[[Path], None]], work: Path, *, rounds: int) -> Seconds:
    """Run all sides once a round; each gets the path of a folder below `work` that is not there yet."""
    seconds = Seconds(wall={name: [] for name in sides}, processor={name: [] for name in sides})
    for number in range(rounds):
        for name, run in sides.items():
            started, processor_before = time.perf_counter(), processor_seconds()
            run(work / f"{number} {name}")
            seconds.wall[name].append(time.perf_counter() - started)
            seconds.processor[name].append(processor_seconds() - processor_before)
    return seconds


def ratio(seconds: Mapping[str, list[float]], base: str, name: str) -> float:
    """How many times as fast as `base` a side is: the median of each round's ratio."""
    pairs = zip(seconds[base], seconds[name], strict=True)
    return round(statistics.median(base_seconds / own for base_seconds, own in pairs), 3)


def processor_seconds() -> float:
    """Of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system

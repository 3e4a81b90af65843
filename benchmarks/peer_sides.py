"""What the parts of `peers` share: two sides that work in turns, and the row of a table that comes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from .environments import python_of
from .trainee import Trainee, in_turns

Row = dict[str, Any]
Answers = Sequence[Mapping[str, Any]]

# Whatever library computes, it is given one thread.
_ONE_THREAD = [f"{library}_THREADS=1" for library in ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "NUMBA_NUM", "POLARS_MAX")]


class Missing(Exception):
    """A peer that cannot be compared with here; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Where files lie, and how much is done."""

    source: Path
    work: Path
    quick: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A program that works in turns: a module of this folder, by the Python of `environment`, "" for ours."""

    module: str
    arguments: Sequence[str]
    environment: str = ""

    def start(self, name: str, work: Path, turns: int) -> Trainee:
        """The program once it is ready. Raises Missing where its environment cannot be made or it does not begin."""
        variables = list(_ONE_THREAD)
        python = Path(sys.executable)
        if self.environment:
            python = _environment(self.environment, work)
            variables += _libraries(python)
        program = ["env", *variables, str(python), "-m", f"benchmarks.{self.module}", *self.arguments]
        try:
            started = Trainee(name, program, epochs=turns)
        except RuntimeError as error:
            raise Missing(str(error)) from None
        if "missing" in started.ready:
            raise Missing(started.ready["missing"])
        return started


def _environment(name: str, work: Path) -> Path:
    try:
        return python_of(name, work)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise Missing(f"no environment could be made: {error}") from None


def _libraries(python: Path) -> list[str]:
    """TorchCodec asks for FFmpeg's libraries under their usual names. Where its environment holds PyAV, it finds those
    of that package there, the same that we decode by.
    """
    packages = next(python.parents[1].glob("lib/python*/site-packages"))
    bundled = packages / "av.libs"
    if not bundled.is_dir():
        return []
    links = python.parents[1] / "ffmpeg"
    links.mkdir(exist_ok=True)
    for library in [*bundled.glob("libav*-*.so.*"), *bundled.glob("libsw*-*.so.*")]:
        link = links / usual_name(library.name)
        if not link.is_symlink():
            link.symlink_to(library)
    return [f"LD_LIBRARY_PATH={links}:{bundled}"]


def usual_name(bundled: str) -> str:
    """A library's name as programs ask for it: `libavutil-5809ad29.so.60.26.102` is `libavutil.so.60`."""
    stem, _, number = bundled.partition(".so.")
    return f"{stem.rpartition('-')[0]}.so.{number.partition('.')[0]}"


def beside(ours: Side, peers: Mapping[str, Side], work: Path, turns: int) -> tuple[Trainee, dict[str, Trainee | str]]:
    """Our side and its peers, each after all its turns; of a missing peer, why. With all missing, ours does nothing."""
    with ExitStack() as stack:
        own = stack.enter_context(ours.start("ours", work, turns))
        found: dict[str, Trainee | str] = {}
        for name, side in peers.items():
            try:
                found[name] = stack.enter_context(side.start(name, work, turns))
            except Missing as reason:
                print(f"  {name}: missing: {reason}", flush=True)
                found[name] = str(reason)
        if there := [side for side in found.values() if isinstance(side, Trainee)]:
            in_turns(own, *there)
    return own, found


def row(what: str, unit: str, ours: Answers, theirs: Answers, software: str, count: Callable[..., float]) -> Row:
    """A pair's rates and ratios; `count` is how many of `unit` an answer stands for."""

    def rates(answers: Answers, clock: str) -> list[float]:
        return [count(answer) / answer[clock] for answer in answers]

    def times(clock: str) -> float:
        return median(own / other for own, other in zip(rates(ours, clock), rates(theirs, clock), strict=True))

    return {
        "what": what,
        "unit": unit,
        "ours": median(rates(ours, "processor_seconds")),
        "beside": software,
        "theirs": median(rates(theirs, "processor_seconds")),
        "times, by the clock": times("seconds"),
        "times, by processor time": times("processor_seconds"),
    }


def missing_row(what: str, unit: str, peer: str, reason: str) -> Row:
    """What stands in the table for a peer that could not be compared with."""
    return {"what": what, "unit": unit, "beside": peer, "theirs": f"not run: {reason}"}

"""Damaged inputs through the real stages, each in a process of its own with bounds of time and memory.

    python -m tests.pipeline.mutation FORMAT SEED COUNT

Prints a line for each kind of outcome with its count, and one for each fault with the number of its mutation (`SEED
NUMBER:` in place of SEED COUNT finds it again); the status is 1 where there is a fault.
A mutation's outcome is `prepared` (what was accepted and rejected is all of the input), or `refused` by one line that
our own code raised. Anything else is a fault: another error, a hang, memory, something half-written, a value that is
not the input's.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from .case import Case, Format
from .formats import formats
from .mutators import mutate

REPOSITORY = Path(__file__).resolve().parents[3]
MAX_SECONDS = 20.0  # of the processor; by the clock many times that, since others work beside us
MAX_BYTES = 1.5e9  # resident, and of address space beyond what the libraries take


def mutations(kind: Format, seed: int, numbers: range) -> Iterator[tuple[int, str, bytes]]:
    """The number, the names and the content of each mutation; each depends on the seed and its number alone."""
    for number in numbers:
        rng = random.Random(f"{kind.name} {seed} {number}")
        if kind.inside and rng.random() < 0.5:
            yield number, "inside", kind.inside(kind.content, rng)
        else:
            content, names = mutate(kind.content, rng, kind.mutators)
            yield number, names, content


def outcome(kind: Format, content: bytes, *, inside: bool = False) -> tuple[str, str]:
    """What became of one content in this process, in the current folder: `prepared`, `refused` or `FAULT`, and why."""
    case = Case(kind, content, inside)
    try:
        kind.run(case)
    except Exception as error:
        if not refused_by_us(error):
            return "FAULT", "".join(traceback.format_exception(error))
        if found := left_behind():
            return "FAULT", f"left behind after {error}: {found}"
        return "refused", f"{type(error).__name__}: {error}"
    try:
        kind.check(case)
    except Exception as error:
        return "FAULT", "".join(traceback.format_exception(error))
    if found := [path for path in left_behind() if "partial" in path]:
        return "FAULT", f"left behind: {found}"
    return "prepared", ""


def refused_by_us(error: Exception) -> bool:
    """Whether it is one line that code of ours has raised on purpose."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = Path(last.filename).is_relative_to(REPOSITORY / "stages") and (last.line or "").startswith("raise")
    return ours and isinstance(error, (ValueError, OSError, RuntimeError)) and len(str(error).split("\n", 1)[0]) > 10


def left_behind() -> list[str]:
    """Outputs under their final names, and half-written ones."""
    names = ("data/*/prepared", "metrics/**/*.json", "answers.*", "data/**/.*", "data/**/*partial*", ".answers*")
    return sorted({str(path) for name in names for path in Path().glob(name)})


def one(kind: Format, content: bytes, *, inside: bool) -> tuple[str, str]:
    """The outcome of one content, worked out in a forked process with bounds."""
    with tempfile.TemporaryDirectory() as folder:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _child(kind, content, folder, writer, inside)
        os.close(writer)
        deadline = time.monotonic() + 5 * MAX_SECONDS
        while not (ended := os.wait4(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.002)
        hung = not ended[0]
        if hung:
            os.kill(pid, signal.SIGKILL)
            ended = os.wait4(pid, 0)
        with os.fdopen(reader) as file:
            report = file.read()
    _, status, usage = ended
    seconds = usage.ru_utime + usage.ru_stime
    if hung or seconds > MAX_SECONDS:
        return "FAULT", f"took {seconds:.0f} s of the processor; allowed: {MAX_SECONDS:.0f}\n{report}"
    if usage.ru_maxrss * 1024 > MAX_BYTES:
        return "FAULT", f"took {usage.ru_maxrss * 1024:,} bytes; allowed: {MAX_BYTES:,.0f}"
    if status:
        # The decoder's crash is caught by the processes that `prepare` starts: the clip is rejected as `crashed`.
        return ("crashed", "") if kind.may_crash else ("FAULT", f"the process ended with status {status}")
    result, why = json.loads(report)
    return result, why


def _child(kind: Format, content: bytes, folder: str, writer: int, inside: bool) -> None:
    try:
        os.chdir(folder)
        os.environ["UNROLL_RESUME"] = str(Path(folder, "resume"))
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bound = pages * resource.getpagesize() + int(MAX_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        resource.setrlimit(resource.RLIMIT_CPU, (int(MAX_SECONDS) + 5,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        report = json.dumps(outcome(kind, content, inside=inside))
        os.write(writer, report.encode("ascii")[: 2**15] if len(report) < 2**15 else b'["FAULT", "a long report"]')
        os._exit(0)
    finally:
        os._exit(9)


def main(name: str, seed: int, numbers: range) -> int:
    """Run mutations of a format; how many faults there were."""
    tqdm.monitor_interval = 0  # no thread that holds a lock while we fork
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        kind = formats()[name]
        os.environ["UNROLL_RESUME"] = str(Path(folder, "resume"))
        kind.prepare()
        result, why = outcome(kind, kind.content)  # of what is whole; and so that the forks find all imported
        if result != "prepared":
            print(f"{name}: what is whole is {result}: {why}")
            return 1
        os.chdir("/")
    counts: Counter[str] = Counter()
    began, faults = time.monotonic(), 0
    for number, names, content in mutations(kind, seed, numbers):
        inside = names == "inside"
        result, why = one(kind, content, inside=inside)
        if why.startswith("took 0 s"):  # a lock that some thread held when we forked; what hangs does so again
            result, why = one(kind, content, inside=inside)
        counts[result] += 1
        if len(numbers) == 1:
            Path(tempfile.gettempdir(), "mutated").write_bytes(content)
            print(f"{number} {names}: {result}: {why}")
        elif result == "FAULT":
            print(f"{name} {seed} {number} {names}: {why[-3000:]}", flush=True)
        faults += result == "FAULT"
    found = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
    print(f"{name}: {counts.total()} mutations in {time.monotonic() - began:.0f} s: {found}")
    return faults


if __name__ == "__main__":
    chosen = sys.argv[3]
    first = int(chosen.removesuffix(":"))
    with suppress(KeyboardInterrupt):
        sys.exit(
            min(1, main(sys.argv[1], int(sys.argv[2]), range(first, first + 1) if ":" in chosen else range(first)))
        )

"""`make repro`: run `dvc repro`, check that the registry has the results, and print a table.

    python -m stages.repro [TARGET …]   takes any arguments of `dvc repro`

`dvc repro` alone does the same work; this adds what DVC cannot see: a registry that was wiped, or that never saw a
result restored from a cache. On SIGTERM or Ctrl-C, it waits until the stage has saved its state, and ends with status
75.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType

from .command import one_line_errors
from .params import load
from .stopping import STATUS


def main(arguments: list[str]) -> None:
    """Run it all; ends the process with DVC's status where that is not 0."""
    with one_line_errors("unroll: registry"):
        load()
    if status := _run_pipeline(arguments):
        sys.exit(status)
    with one_line_errors("unroll: registry"):
        from .registry import table, versions

        versions.sync()
        table.show_tasks()


def _run_pipeline(arguments: list[str]) -> int:
    """The status of `dvc repro`, or 75 where it was asked to stop."""
    pipeline = subprocess.Popen([sys.executable, "-m", "dvc", "repro", *arguments])
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        if number == signal.SIGTERM:  # the terminal sends Ctrl-C to the stage as well
            _terminate_stage(pipeline.pid)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    # MLflow takes seconds to import: as long as DVC needs to find that nothing has changed.
    from .registry import table, versions  # noqa: F401

    status = pipeline.wait()
    for number, handler in previous.items():
        signal.signal(number, handler)
    return STATUS if stopped else status


def _terminate_stage(dvc: int) -> None:
    """End what a `dvc` has started; it ends by itself then, where a signal could meet it while it writes dvc.lock."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(dvc)
        for child in process.children(recursive=True) or [process]:
            child.terminate()


if __name__ == "__main__":
    main(sys.argv[1:])

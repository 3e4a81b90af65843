"""What command lines share: check params.yaml, run a verb on a task, report an error in one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import stopping  # noqa: F401  # it notes at once which process has started this one
from .cluster import connection

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks.protocol import Task


_EXPECTED = (ValueError, OSError, RuntimeError)  # mistakes in params, data or environment
_MAX_TEXT = 8000  # characters: an error may quote a file, whose lines may be megabytes


def main(verb: str, purpose: str, run: Callable[[Task, TaskParams], None]) -> None:
    """Parse `TASK`, check the whole of params.yaml, run the verb on that task."""
    from .tasks.protocol import Task

    let_threads_sleep()
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{verb}", description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=Task.names(), metavar="TASK", help=f"one of {', '.join(Task.names())}")
    task = Task(parser.parse_args().task)
    connection.runs(f"{verb}@{task.name}")
    hint = f"; `dvc repro {verb}@{task.name}` runs this stage and all stages that it needs"
    with one_line_errors(f"unroll: {verb} {task.name}", missing_file=hint):
        from .params import load
        from .progress_bar import tell

        params = load()[task.name]
        for note in params.notes() if verb == "preprocess" else ():
            tell(f"unroll: {task.name}.{note}")
        run(task, params)


def let_threads_sleep() -> None:
    """Have OpenMP's threads sleep while they wait, unless the environment says otherwise. OpenMP reads it when torch
    loads.

    They spin by themselves. Where anything else runs on the cores, that was seen to make a training of two threads
    twenty times slower; sleeping costs a third on an idle machine.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def one_line_errors(label: str, *, missing_file: str = "") -> Iterator[None]:
    """Inside the block, mistakes in params, data, environment or MLflow end the process with one line and status 1.

    With UNROLL_TRACEBACK=1 in the environment, all but those in params come with a traceback. `missing_file` is added
    where a file is missing.
    """
    try:
        yield
    except Exception as error:
        from .params_yaml import ParamsError
        from .tracking.store import store_error

        if isinstance(error, ParamsError):
            sys.exit(str(error))
        line = store_error(error)
        if os.environ.get("UNROLL_TRACEBACK") == "1" or not (line or isinstance(error, _EXPECTED)):
            raise
        hint = missing_file if isinstance(error, FileNotFoundError) else ""
        text = line or str(error)
        sys.exit(f"{label}: {text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + '…'}{hint}")

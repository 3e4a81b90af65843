"""The command line that all verbs share: check params.yaml, run, say in one line what went wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks.protocol import Task


_EXPECTED = (ValueError, OSError, RuntimeError)  # mistakes in params, data or environment


def main(verb: str, purpose: str, run: Callable[[Task, TaskParams], None]) -> None:
    """Parse `TASK`, check the whole of params.yaml, run the verb on that task.

    Mistakes in params, data or environment end the process with one line and status 1; with UNROLL_TRACEBACK=1 in the
    environment, they come with a traceback as well.
    """
    from .tasks.protocol import Task

    # OpenMP's threads spin while they wait. Where anything else runs on the cores, that was seen to make a training of
    # two threads twenty times slower; sleeping costs a third on an idle machine. OpenMP reads it when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{verb}", description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=Task.names(), metavar="TASK", help=f"one of {', '.join(Task.names())}")
    task = Task(parser.parse_args().task)

    from .params import ParamsError, load

    try:
        run(task, load()[task.name])
    except ParamsError as error:
        sys.exit(str(error))
    except Exception as error:
        from .tracking.store import store_error

        of_store = store_error(error)
        if os.environ.get("UNROLL_TRACEBACK") == "1" or not (of_store or isinstance(error, _EXPECTED)):
            raise
        if of_store:
            sys.exit(f"unroll: {verb} {task.name}: {of_store}")
        missing = f"; `dvc repro {verb}@{task.name}` runs this stage and all that it needs"
        hint = missing if isinstance(error, FileNotFoundError) else ""
        sys.exit(f"unroll: {verb} {task.name}: {error}{hint}")

"""The command line that all verbs share: check params.yaml, run, say in one line what went wrong."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks import Task


_EXPECTED = (ValueError, OSError, RuntimeError)  # mistakes in params, data or environment


def main(verb: str, purpose: str, run: Callable[[Task, TaskParams], None]) -> None:
    """Parse `TASK`, check the whole of params.yaml, run the verb on that task.

    Mistakes in params, data or environment end the process with one line and status 1; with UNROLL_TRACEBACK=1 in the
    environment, they come with a traceback as well.
    """
    from .tasks import Task

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
        of_store = store_error(error)
        if os.environ.get("UNROLL_TRACEBACK") == "1" or not (of_store or isinstance(error, _EXPECTED)):
            raise
        if of_store:
            sys.exit(f"unroll: {verb} {task.name}: {of_store}")
        missing = f"; `dvc repro {verb}@{task.name}` runs this stage and all that it needs"
        hint = missing if isinstance(error, FileNotFoundError) else ""
        sys.exit(f"unroll: {verb} {task.name}: {error}{hint}")


@contextmanager
def fresh_folder(final: Path) -> Iterator[Path]:
    """An empty folder beside `final` that takes its name, and its place, when the block ends without an error."""
    temporary = final.with_name(f".{final.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)


def store_error(error: BaseException) -> str | None:
    """What MLflow, its server or its database cannot do, in a line without credentials; None for another's error."""
    if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy"):
        return None
    text = without_credentials(next(iter(str(error).splitlines()), type(error).__name__))
    match getattr(error, "error_code", ""):
        case "UNAUTHENTICATED":
            text = "it does not know this user or password (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)"
        case "PERMISSION_DENIED":
            text = "this user may not do that (MLFLOW_TRACKING_USERNAME)"
        case _ if "Max retries exceeded" in text:
            text = "it cannot be reached: " + text.rpartition("Caused by ")[2].rstrip(")")
    return f"MLflow at {without_credentials(os.environ.get('MLFLOW_TRACKING_URI', 'the local store'))}: {text}"


def without_credentials(text: str) -> str:
    """A text whose addresses name no user and no password."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)

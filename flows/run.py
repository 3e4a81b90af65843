"""The pipeline flow from the command line.

    python -m flows.run                              all tasks
    python -m flows.run sketch video --up-to train   two tasks, up to their weights
    python -m flows.run sketch --set sketch.train.epochs=3
    python -m flows.run --refresh                    what the schedule starts at night

The UI shows the run if `make up` has started this checkout's servers or if PREFECT_API_URL names a server. Otherwise
Prefect starts a temporary server for the flow. `python -m flows.plan` lists what would run, and why.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from stages.stopping import STATUS
from stages.tasks.protocol import Task

from .execution.cancellation import leave_temporary_server
from .reports.registry_process import start_early
from .server.address import choose_server, tell_of_the_end

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State


def main() -> None:
    """Run the flow; status 1 if a stage failed."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # PipelineOptions has the defaults
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(Task.names()))
    parser.add_argument("--up-to", metavar="VERB", help="last stage to run for each task")
    parser.add_argument("--force", action="store_true", help="run the chosen stages even if nothing has changed")
    parser.add_argument(
        "--set",
        action="append",
        dest="overrides",
        metavar="KEY=VALUE",
        help="a param for this run only; its models stay challengers",
    )
    parser.add_argument("--where", metavar="PLACE", help="auto, here or pool")
    parser.add_argument("--pool", help="work pool for stages that do not run on this machine")
    parser.add_argument("--parallel", type=int, metavar="N", help="number of stages at the same time on this machine")
    parser.add_argument("--refresh", action="store_true", help="nightly run: check the sources, retrain by the policy")
    parser.add_argument("--commit", action="store_true", help="with --refresh: commit on the branch unroll/nightly")
    args = vars(parser.parse_args())
    choose_server()
    if "overrides" not in args:  # else the flow runs in another folder
        start_early(Path())

    from .options import PipelineOptions
    from .pipeline import pipeline

    try:
        options = PipelineOptions(**args)
    except ValidationError as error:
        sys.exit(describe_errors(error))
    state = run_flow(pipeline, options)
    sys.exit(0 if state.is_completed() else 1)


def describe_errors(error: ValidationError) -> str:
    """The errors in options from the command line, a line each."""
    return "\n".join(f"unroll: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())


def run_flow(flow: Flow[..., State[Any]], options: BaseModel) -> State[Any]:
    """The final state of a flow; where Prefect's server does not let it come to one, ends the process with one line."""
    import httpx

    try:
        state = flow(options, return_state=True)
        tell_of_the_end()
        return state
    except (httpx.HTTPError, RuntimeError, KeyboardInterrupt) as error:
        stopped = any(isinstance(e, KeyboardInterrupt) for e in (error, error.__context__))
        if not stopped:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            print(f"unroll: Prefect's server: {reason}", file=sys.stderr)
        status = STATUS if stopped else 1
        leave_temporary_server(status)
        sys.exit(status)


if __name__ == "__main__":
    main()

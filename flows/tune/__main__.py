"""A search over params from the command line.

    python -m flows.tune forecast --search "forecast.train.learning_rate=log(1e-4, 1e-1)" "forecast.model.layers=[1, 2]"
    python -m flows.tune forecast --search "forecast.model.kind=[gru, lstm, rnn]" --method grid --parallel 2

Give each param and its values as one quoted argument: KEY=[a, b, …], =int(low, high), =log_int(low, high),
=uniform(low, high) or =log(low, high). The best trial has the best validation metric; the last line printed is the
command that applies it to the checkout. The same command with the same --study continues a search that was stopped.
The Prefect server is chosen as in `python -m flows.run`.
"""

from __future__ import annotations

import argparse
import sys

from pydantic import ValidationError

from stages.tasks.protocol import Task

from ..run import describe_errors, run_flow
from ..server.address import choose_server


def main() -> None:
    """Run the flow; status 1 if nothing came out."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.tune",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # TuneOptions has the defaults
    )
    parser.add_argument("task", metavar="TASK", help=", ".join(Task.names()))
    parser.add_argument("--search", required=True, nargs="+", metavar="KEY=VALUES", help="params and their values")
    parser.add_argument("--method", help="tpe, which learns from earlier trials (default), random or grid")
    parser.add_argument("--trials", type=int, metavar="N", help="total number of trials (20)")
    parser.add_argument("--parallel", type=int, metavar="N", help="trials at the same time (1)")
    parser.add_argument("--seed", type=int, metavar="N", help="seed for sampling the values (1)")
    parser.add_argument("--no-prune", dest="prune", action="store_false", help="train every trial to the end")
    parser.add_argument("--up-to", metavar="VERB", help="last stage of each trial: train (default) or evaluate")
    parser.add_argument("--set", action="append", dest="overrides", metavar="KEY=VALUE", help="a param for all trials")
    parser.add_argument("--where", metavar="PLACE", help="auto (default), here or pool")
    parser.add_argument("--pool", help="work pool for stages that run elsewhere (gpu)")
    parser.add_argument("--study", metavar="NAME", help="name of the study; default: the name of the flow run")
    args = vars(parser.parse_args())
    choose_server()

    from .flow import tune
    from .options import TuneOptions

    try:
        options = TuneOptions(**args)
    except ValidationError as error:
        sys.exit(describe_errors(error))
    state = run_flow(tune, options)
    print(state.message)
    sys.exit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    main()

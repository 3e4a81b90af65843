"""A search over params from the command line.

    python -m flows.tune forecast --search "forecast.train.learning_rate=log(1e-4, 1e-1)" "forecast.model.layers=[1, 2]"
    python -m flows.tune forecast --search "forecast.model.kind=[gru, lstm, rnn]" --method grid --parallel 2

What is searched is given between quotes, one text for each param: KEY=[a, b, …], =int(low, high), =log_int(low, high),
=uniform(low, high) or =log(low, high). The best trial is that with the best validation metric; the command that brings
it into the checkout is printed at the end. The same command with the same --study goes on with a search that was
stopped. Prefect's server is chosen as `python -m flows.run` does.
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
    parser.add_argument("--method", help="tpe, which learns from the trials before (default), random, or grid")
    parser.add_argument("--trials", type=int, metavar="N", help="trials of the study in all (20)")
    parser.add_argument("--parallel", type=int, metavar="N", help="trials at once (1)")
    parser.add_argument("--seed", type=int, metavar="N", help="of what is drawn (1)")
    parser.add_argument("--no-prune", dest="prune", action="store_false", help="train every trial to its end")
    parser.add_argument("--up-to", metavar="VERB", help="the last stage of each trial: train (default) or evaluate")
    parser.add_argument("--set", action="append", dest="overrides", metavar="KEY=VALUE", help="a param for all trials")
    parser.add_argument("--where", metavar="PLACE", help="auto (default), here or pool")
    parser.add_argument("--pool", help="work pool for stages that run elsewhere (gpu)")
    parser.add_argument("--study", metavar="NAME", help="of the study; that of the flow run if not given")
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

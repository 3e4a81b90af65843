"""The past, decided again: which cadence of retraining would have paid.

    python -m flows.replay forecast --from 2013-01-01 --to 2018-12-31 --every 7d --retrain never,yearly,monthly,on_alarm

On each day of decision, from the data as it stood at its end (data/forecast/raw, cut at that day), each policy decides
whether to train, the gate decides who becomes champion, and the champion forecasts seven days. It trains with the
settings of params.yaml; what two policies train on the same day is trained once, and kept in .resume/replay/, so that a
replay that was stopped goes on. Writes replay/forecast/: forecasts.csv, decisions.csv, replay.json,
replay.png, report.md; the report of each night shows the newest.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from stages.command import one_line_errors

from .options import check_task, parallel_trainings, plan
from .policies import POLICIES

if TYPE_CHECKING:
    from stages.tasks.forecast.params import Params


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", metavar="TASK", help="forecast")
    parser.add_argument("--from", dest="first", required=True, metavar="DAY", help="the first day of decision")
    parser.add_argument("--to", dest="last", required=True, metavar="DAY", help="no day of decision after it")
    parser.add_argument("--every", default="7d", metavar="DAYS", help="from one to the next (7d)")
    parser.add_argument("--retrain", required=True, metavar="POLICY,…", help=f"the policies: {', '.join(POLICIES)}")
    parser.add_argument(
        "--promotion",
        choices=("gate", "always"),
        default="gate",
        help="who becomes champion: whom the registry's gate chooses (default), or whatever was trained last",
    )
    parser.add_argument("--parallel", type=int, metavar="N", help="trainings at once (as many as there are cores for)")
    args = parser.parse_args()
    with one_line_errors("unroll: replay"):
        from stages.params import load

        task, planned = check_task(args.task), plan(args.first, args.last, args.every, args.retrain)
        from .run import replay

        params = cast("Params", load()[task.name])
        parallel = parallel_trainings(args.parallel, params.train.ranks * params.train.threads)
        replay(task, params, planned, every=args.every, promotion=args.promotion, parallel=parallel)


if __name__ == "__main__":
    main()

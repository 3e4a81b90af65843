"""Replay past data to compare retraining policies: how often should the model have been retrained?

    python -m flows.replay forecast --from 2013-01-01 --to 2018-12-31 --every 7d --retrain never,yearly,monthly,on_alarm

On each day of decision, using the data up to the end of that day (data/forecast/raw, cut there), each policy decides
whether to train, the gate decides who becomes champion, and the champion forecasts seven days. Training uses the
settings of params.yaml. A training that two policies want on the same day runs once; all are kept in .resume/replay/,
so that a stopped replay can continue. Writes replay/forecast/: forecasts.csv, decisions.csv, replay.json, replay.png,
report.md; the report of each nightly run shows the newest replay.
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
    parser.add_argument("--from", dest="first", required=True, metavar="DAY", help="first day of decision")
    parser.add_argument("--to", dest="last", required=True, metavar="DAY", help="last possible day of decision")
    parser.add_argument("--every", default="7d", metavar="DAYS", help="interval between days of decision (7d)")
    parser.add_argument(
        "--retrain", required=True, metavar="POLICY,…", help=f"policies to compare: {', '.join(POLICIES)}"
    )
    parser.add_argument(
        "--promotion",
        choices=("gate", "always"),
        default="gate",
        help="who becomes champion: as the registry's gate decides (default), or always the latest training",
    )
    parser.add_argument(
        "--parallel", type=int, metavar="N", help="trainings at the same time (as many as the cores allow)"
    )
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

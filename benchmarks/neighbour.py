"""How much slower the predictors answer beside a program that is busy.

    python -m benchmarks.neighbour                          the checkout's code and weights, beside one busy process
    python -m benchmarks.neighbour sketch --neighbours 2
    UNROLL_THREADS=2 python -m benchmarks.neighbour sketch  as with torch's own number of threads on two cores

Needs weights and raw data (`dvc repro` or `dvc checkout`). Each task is asked for one row and for many, alone and
beside the neighbours, in alternating rounds; medians. Beside one that takes one of two processors, half as fast is
what there is left to get for two threads, and nothing need be lost for one. Ends with status 1 where an answer beside
the neighbours takes more than 2.5 times as long as alone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from stages.paths import network_folder
from stages.serving import threads
from stages.tasks.protocol import Task

from . import command, timing
from .data import REPOSITORY
from .serving import frame

if TYPE_CHECKING:
    import pandas as pd

ROWS = {"sketch": 1000, "video": 100, "translation": 1000, "forecast": 100, "drawing": 50}  # forecast: series
MOST = 2.5  # times as long as alone
_BUSY = "while True: pass"


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that never wait, while the block runs."""
    started = [subprocess.Popen([sys.executable, "-S", "-c", _BUSY]) for _ in range(count)]
    try:
        time.sleep(0.2 if count else 0.0)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def asked(task: str, rows: int) -> pd.DataFrame:
    """So many rows for a task's model."""
    import pandas as pd

    if task == "drawing":
        return pd.DataFrame({"label": "#1", "seed": pd.Series(range(rows), dtype=object)})
    return frame(task, rows)


def measure(task: str, *, count: int, rounds: int) -> list[dict[str, Any]]:
    """A row for one row and one for many: medians alone and beside `count` neighbours."""
    predictor = Task(task).predictor()(network_folder(REPOSITORY / "weights" / task))
    found = []
    for rows, repeat in ((1, 20), (ROWS[task], 3)):
        run = partial(predictor.predict, asked(task, rows))
        run()
        seconds: dict[int, list[float]] = {0: [], count: []}
        for _ in range(rounds):
            for number, own in seconds.items():
                with neighbours(number):
                    own += timing.alternate({"": run}, rounds=repeat)[""].wall
        alone, beside = (1000 * median(own) for own in seconds.values())
        used = threads.chosen(few=rows <= predictor.few)
        row = {"model": task, "rows": rows, "threads": used, "alone, ms": alone, "beside, ms": beside}
        found.append({**row, "times as long": beside / alone})
    return found


def main() -> None:
    """The command line."""
    parser = command.parser("neighbour", __doc__)
    parser.add_argument("tasks", nargs="*", default=list(ROWS), metavar="TASK", help=", ".join(ROWS))
    parser.add_argument("--neighbours", type=int, default=1, help="busy processes; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="turns; default: %(default)s")
    args = parser.parse_args()
    command.check(parser, args.tasks, list(ROWS))
    rows = [row for task in args.tasks for row in measure(task, count=args.neighbours, rounds=args.rounds)]
    print(command.table(rows))
    command.write(args.json, {"machine": command.machine(), "neighbour": rows})
    sys.exit(any(row["times as long"] > MOST for row in rows))


if __name__ == "__main__":
    main()

"""Have the champion forecast the coming days of every series in the newest prepared data, and store the forecasts.

    python -m stages.forecast            every task with a forecast store (params.yaml: TASK.monitor.store)
    python -m stages.forecast forecast   one of them

A series that this version has already forecast from this day is skipped. Later, `python -m stages.score TASK` tells how
good the forecasts were. The Prefect deployment `forecast` does the same.
"""

from __future__ import annotations

import argparse

from .command import let_threads_sleep, one_line_errors
from .tasks.protocol import Task


def main() -> None:
    """The command line."""
    names = [name for name in Task.names() if Task(name).has_forecasts]
    parser = argparse.ArgumentParser(
        prog="python -m stages.forecast", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"one or more of {', '.join(names)}; default: all")
    chosen = parser.parse_args().tasks or names
    let_threads_sleep()
    for name in chosen:
        if name not in names:
            parser.error(f"found {name!r}; allowed: {', '.join(names)}, whose models forecast")
        hint = f"; `dvc repro preprocess@{name}` prepares the data"
        with one_line_errors(f"unroll: forecast {name}", missing_file=hint):
            from .monitoring.forecasting import forecast_task
            from .params import load

            print(f"{name}: {forecast_task(Task(name), load()[name]).summary}")


if __name__ == "__main__":
    main()

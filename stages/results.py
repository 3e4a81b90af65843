"""The results of each task on its test split, one table per task.

    python -m stages.results [TASK …]    default: all tasks

It reads metrics/TASK.json, as `dvc metrics show` does; `dvc metrics diff` compares with another commit.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.table import Table

from .command import one_line_errors
from .data.files import read_json
from .evaluation.meanings import meaning
from .evaluation.report import best_baseline, format_number, headline_metric, metric_names, with_interval
from .provenance.hashes import parse_signature
from .tasks.protocol import Task

_WIDTH = 100  # of a log, which has no width of its own


def table(task: Task) -> Table:
    """A row a metric, with its 95 % interval and its best baseline; the one that models are judged by comes first."""
    metrics = read_json(task.paths.metrics)
    headline = headline_metric(metrics, task.description())
    shown = Table("metric", "95 % interval", "best baseline", "meaning", title=_title(task, metrics["signature"]))
    shown.title_justify = "left"
    for column in shown.columns:
        column.overflow = "fold"
    for name in metric_names(metrics, headline):
        best = best_baseline(metrics, name)
        baseline = f"{format_number(best[1])} {best[0].replace('_', ' ')}" if best else ""
        shown.add_row(name, with_interval(metrics, name), baseline, meaning(name), end_section=name == headline)
    return shown


def _title(task: Task, signature: str) -> str:
    facts = parse_signature(signature)
    return f"{task.name}: {int(facts['n']):,} examples of the {facts['split']} split"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(Task.names()))
    args = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    with one_line_errors("unroll: results"):
        for task in map(Task, args.tasks or Task.names()):
            if task.paths.metrics.is_file():
                console.print(table(task))
            else:
                console.print(f"{task.name}: not evaluated yet; `dvc repro evaluate@{task.name}`")


if __name__ == "__main__":
    main()

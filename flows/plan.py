"""What a run of the pipeline would do, and why.

python -m flows.plan                                  all stages
python -m flows.plan sketch video --up-to train       two tasks, as `flows.run` takes them
python -m flows.plan evaluate@sketch …                these stages and those they depend on
python -m flows.plan --json                           for programs

One line below the table lists the stages that are up to date. A stage that only new data has made stale, and that a
nightly run would skip, is shown as held back by monitor.retrain; `dvc repro` and `flows.run` without --refresh run it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from stages.params import load
from stages.params_yaml import ParamsError
from stages.tasks.protocol import Task

from .dag import Pipeline, PipelineError, PlannedStage, Verdict
from .hold_back import KEY, held_back, hold_back, unfinished
from .options import PipelineOptions, Verb

MEANING: dict[Verdict, str] = {
    "cached": "unchanged",
    "restore": "from DVC's cache",
    "run": "runs",
    "wait": "runs if an earlier stage changes its output",
    "held": f"held back by {KEY}",
}

_SHOWN = 4  # reasons of a stage in the table


def reasons(stage: PlannedStage) -> str:
    """The reasons in one line, the first few of them."""
    shown = "; ".join(stage.reasons[:_SHOWN])
    left = len(stage.reasons) - _SHOWN
    return f"{shown}; and {left} more" if left > 0 else shown


def show(plan: Sequence[PlannedStage]) -> None:
    """Print what is to do as a table and a line that sums it up, and in another line what is up to date."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if rest := [stage for stage in plan if stage.verdict != "cached"]:
        table = Table()
        for column in ("stage", "what", "why"):
            table.add_column(column, overflow="fold")
        for stage in rest:
            style = "dim" if stage.verdict == "held" else ""
            table.add_row(stage.name, MEANING[stage.verdict], reasons(stage), style=style)
        console.print(table)
    counts = Counter(stage.verdict for stage in rest)
    if rest:
        console.print(", ".join(f"{counts[verdict]} {MEANING[verdict]}" for verdict in MEANING if counts[verdict]))
    if names := [stage.name for stage in plan if stage.verdict == "cached"]:
        text = f"{len(names)} {MEANING['cached']}: {in_few_words(names)}"
        console.print(text, style="dim", highlight=False, soft_wrap=True)


def in_few_words(stages: Sequence[str]) -> str:
    """The stages, by the tasks that have the same ones here: `download, train of forecast, sketch; train of video`."""
    verbs: dict[str, list[str]] = {}
    for name in stages:
        verb, _, task = name.partition("@")
        verbs.setdefault(task, []).append(verb)
    tasks: dict[str, list[str]] = {}
    for task, own in verbs.items():
        tasks.setdefault(", ".join(own), []).append(task)
    return "; ".join(f"{own} of {', '.join(names)}" for own, names in tasks.items())


def stages_of(targets: Sequence[str], up_to: Verb | None = None) -> list[str] | None:
    """The stages that tasks and stages ask for; None for all. Raises PipelineError for what is neither."""
    stages = [target for target in targets if "@" in target]
    tasks = [target for target in targets if "@" not in target]
    if unknown := set(tasks) - set(Task.names()):
        allowed = f"a task ({', '.join(Task.names())}) or a stage, such as train@{Task.names()[0]}"
        raise PipelineError(f"found {', '.join(sorted(unknown))}; allowed: {allowed}")
    if tasks or (up_to and not stages):
        options = {"tasks": tasks or list(Task.names()), **({"up_to": up_to} if up_to else {})}
        stages += PipelineOptions.model_validate(options).targets()
    return stages or None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TASK|STAGE", help="sketch or train@sketch; default: all")
    parser.add_argument("--up-to", choices=get_args(Verb), metavar="VERB", help="last stage of each task")
    parser.add_argument("--force", action="store_true", help="plan as if everything had changed")
    parser.add_argument("--json", action="store_true", help="print a list of stages with verdict and reasons")
    args = parser.parse_args()
    try:
        params, pipeline = load(), Pipeline(Path())
        plan = pipeline.plan(stages_of(args.targets, args.up_to), force=args.force)
        if not args.force:
            plan = hold_back(plan, held_back(pipeline, params, datetime.now(UTC).date(), unfinished(plan)))
    except (PipelineError, ParamsError) as error:
        sys.exit(f"unroll: plan: {error}")
    if args.json:
        print(json.dumps([{"name": s.name, "verdict": s.verdict, "reasons": s.reasons} for s in plan], indent=2))
    else:
        show(plan)


if __name__ == "__main__":
    main()

"""What a run of the pipeline would do, and why.

python -m flows.plan                      all stages
python -m flows.plan evaluate@sketch …    these, and what they need
python -m flows.plan --json               for programs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from stages.params import ParamsError, load

from .dag import Decision, Pipeline, PipelineError

_SHOWN = 4  # reasons of a stage in the table
_WORDS = {
    "cached": "unchanged",
    "restore": "from DVC's cache",
    "run": "runs",
    "wait": "runs if a stage before it changes",
}


def markdown(decisions: Sequence[Decision], places: Mapping[str, str]) -> str:
    """The plan as a table in Markdown, as Prefect shows it; `places` names the pool of a stage that runs elsewhere."""
    rows = []
    for decision in decisions:
        where = f"pool {places[decision.name]}" if decision.name in places else "here"
        rows.append(
            f"| `{decision.name}` | {_WORDS[decision.verdict]} | {'' if decision.verdict == 'cached' else where} "
            f"| {reasons(decision).replace('|', chr(92) + '|')} |"
        )
    return "\n".join(["| stage | what | where | why |", "|---|---|---|---|", *rows])


def reasons(decision: Decision) -> str:
    """The reasons in one line, the first few of them."""
    shown = "; ".join(decision.reasons[:_SHOWN])
    left = len(decision.reasons) - _SHOWN
    return f"{shown}; and {left} more" if left > 0 else shown


def show(decisions: Sequence[Decision]) -> None:
    """The plan as a table on the terminal, and a line that sums it up."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("stage", "what", "why"):
        table.add_column(column, overflow="fold")
    for decision in decisions:
        style = "dim" if decision.verdict == "cached" else ""
        table.add_row(decision.name, _WORDS[decision.verdict], reasons(decision), style=style)
    console = Console()
    console.print(table)
    counts = {verdict: sum(d.verdict == verdict for d in decisions) for verdict in _WORDS}
    console.print(", ".join(f"{count} {_WORDS[verdict]}" for verdict, count in counts.items() if count))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", help="such as train@sketch; all where none is named")
    parser.add_argument("--force", action="store_true", help="as if everything had changed")
    parser.add_argument("--json", action="store_true", help="a list of stages with verdict and reasons")
    chosen = parser.parse_args()
    try:
        load()
        decisions = Pipeline(Path()).plan(chosen.stages or None, force=chosen.force)
    except (PipelineError, ParamsError) as error:
        sys.exit(f"unroll: plan: {error}")
    if chosen.json:
        print(json.dumps([asdict(decision) for decision in decisions], indent=2))
    else:
        show(decisions)


if __name__ == "__main__":
    main()

"""Who becomes champion, where a person decides.

    python -m stages.registry.promotion compare TASK --folder F     a version beside the champion, with pictures
    python -m stages.registry.promotion approve TASK --version 3 --champion 2 --by NAME --reason TEXT --run NAME
    python -m stages.registry.promotion reject  TASK --version 3 --champion 2 --by NAME --reason TEXT --run NAME

A champion changes as a whole or not at all (`aliases`). `--champion` is the version that the person saw beside the
other one ("none" where there was none): where it is another by now, nothing is decided.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from ..tasks.protocol import Task
from .aliases import (
    CHALLENGER,
    CHAMPION,
    DECIDED,
    NONE,
    PREVIOUS,
    VERDICT,
    PromotionError,
    ask,
    check_champion,
    get_version,
    held,
    move,
    with_alias,
)
from .status import Version, describe

if TYPE_CHECKING:
    from mlflow import MlflowClient

COMPARISON, PICTURES, CURVE = "comparison.json", "pictures", "training.csv"  # in the folder of `compare`


class Comparison(BaseModel):
    """A version that may become champion, and the one that is."""

    model: str
    candidate: Version
    champion: Version | None
    commit: str
    dirty: bool  # the commit had uncommitted changes


class Decision(BaseModel):
    """What a person has decided, on what they saw."""

    version: str
    champion: str  # the version beside it, or NONE
    by: str
    reason: str
    run: str  # the flow run in which they did


def compare(client: MlflowClient, task: Task, version: str, folder: Path) -> Comparison:
    """A version (a number, or an alias) beside the champion; writes its pictures and its learning curve into `folder`.

    Raises PromotionError where there is no such version, or where the run that measured it is gone.
    """
    name = task.description().model_name
    found = get_version(client, name, version)
    champion = with_alias(client, name, CHAMPION)
    candidate = describe(client, found)
    if not candidate.run_id:
        raise PromotionError(
            f"{name} version {candidate.version}: MLflow no longer has the run that measured it ({found.run_id}), so "
            f"there is nothing to decide on"
        )
    _fetch(client, candidate.run_id, folder)
    return Comparison(
        model=name,
        candidate=candidate,
        champion=describe(client, champion) if champion else None,
        commit=found.tags.get("unroll.git_commit", "unknown"),
        dirty=found.tags.get("unroll.git_dirty") == "true",
    )


def approve(client: MlflowClient, task: Task, decision: Decision) -> None:
    """Make a version the champion, if it answers. Raises PromotionError, and changes nothing, where it does not.

    Nor does anything change where the champion is another than the person saw.
    """
    name = task.description().model_name
    check_champion(client, name, decision.champion)
    get_version(client, name, decision.version)
    answering = ask(task, name, decision.version)
    move(client, answering, before=decision.champion, tags=_noted(decision, "champion: approved"))


def reject(client: MlflowClient, task: Task, decision: Decision) -> None:
    """Note on a version that a person does not want it."""
    name = task.description().model_name
    get_version(client, name, decision.version)
    for key, value in _noted(decision, "rejected").items():
        client.set_model_version_tag(name, decision.version, key, value)


def roll_back(client: MlflowClient, task: Task, *, by: str, reason: str) -> tuple[str, str]:
    """Make the version champion again that the present champion has replaced; returns both numbers, the new one first.

    The version that goes is marked, so that registering the same content again does not bring it back. Raises
    PromotionError, and changes nothing, where no champion was before it, or where that one is gone or does not answer.
    """
    name = task.description().model_name
    with held(name):
        leaving = get_version(client, name, CHAMPION)
        number = str(leaving.version)
        before = leaving.tags.get(PREVIOUS, NONE)
        if before == NONE:
            raise PromotionError(f"{name} version {number} is the first champion; there is none to go back to")
        answering = ask(task, name, before)
        left = Decision(version=number, champion=before, by=by, reason=reason, run="")
        came = Decision(version=before, champion=number, by=by, reason=reason, run="")
        move(
            client, answering, before=number, tags=_noted(came, f"champion: back after version {number}"), go_back=True
        )
        for key, value in _noted(left, f"rolled back to version {before}").items():
            client.set_model_version_tag(name, number, key, value)
    return before, number


def _noted(decision: Decision, verdict: str) -> dict[str, str]:
    """A decision as tags of a version."""
    why = f"{verdict} by {decision.by}{f': {decision.reason}' if decision.reason else ''}"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"by": decision.by, "reason": decision.reason, "run": decision.run, "at": now}
    return {**{f"{DECIDED}_{key}": value for key, value in facts.items()}, VERDICT: why}


def _fetch(client: MlflowClient, run_id: str, folder: Path) -> None:
    for path, name in ((CURVE, CURVE), (f"evaluation/{PICTURES}", PICTURES)):
        parent = path.rpartition("/")[0]
        if any(file.path == path for file in client.list_artifacts(run_id, parent or None)):
            local = Path(client.download_artifacts(run_id, path, str(folder)))
            local.rename(folder / name)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.registry.promotion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=["compare", "approve", "reject"])
    parser.add_argument("task", choices=Task.names(), metavar="TASK", help=f"one of {', '.join(Task.names())}")
    parser.add_argument("--version", default=CHALLENGER, help="its number; else the challenger")
    parser.add_argument("--folder", type=Path, default=Path(), help="compare: where to write")
    parser.add_argument("--champion", default=NONE, help="the champion that was seen beside it")
    parser.add_argument("--by", default="", help="who decides")
    parser.add_argument("--reason", default="", help="why")
    parser.add_argument("--run", default="", help="the flow run in which it was decided")
    asked = parser.parse_args()
    from ..tracking import mlflow_runs

    task, verb = Task(asked.task), asked.verb
    decision = Decision(version=asked.version, champion=asked.champion, by=asked.by, reason=asked.reason, run=asked.run)
    try:
        with mlflow_runs.store_in_words():
            _carry_out(verb, mlflow_runs.open_client(), task, decision, asked.folder)
    except (RuntimeError, OSError) as error:
        sys.exit(f"unroll: promotion: {error}")


def _carry_out(
    verb: Literal["compare", "approve", "reject"], client: MlflowClient, task: Task, decision: Decision, folder: Path
) -> None:
    match verb:
        case "compare":
            found = compare(client, task, decision.version, folder)
            (folder / COMPARISON).write_text(found.model_dump_json(indent=2), encoding="utf-8")
        case "approve":
            approve(client, task, decision)
        case "reject":
            reject(client, task, decision)


if __name__ == "__main__":
    main()

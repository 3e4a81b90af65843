"""Promotion by a person: compare a version with the champion, then approve or reject it.

    python -m stages.registry.promotion compare TASK [--version 3]            show a version beside the champion
    python -m stages.registry.promotion approve TASK --version 3 --champion 2 --by NAME --reason TEXT
    python -m stages.registry.promotion reject  TASK --version 3 --by NAME --reason TEXT

A champion changes as a whole or not at all (`champion`). `--champion` is the version that the person compared with, as
`compare` shows it ("none" if there was none); if the champion has changed since, nothing is approved.
"""

from __future__ import annotations

import argparse
import getpass
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..command import one_line_errors
from ..tasks.protocol import Task
from .champion import (
    DECIDED,
    NONE,
    PREVIOUS_CHAMPION,
    PromotionError,
    check_champion,
    get_version,
    load_and_try,
    make_champion,
    model_lock,
    with_alias,
)
from .decision import CHALLENGER, CHAMPION, Decision, Verdict, facts, write_verdict
from .status import SideBySide, Version, describe

if TYPE_CHECKING:
    from mlflow import MlflowClient

COMPARISON, PICTURES, CURVE = "comparison.json", "pictures", "training.csv"  # in the folder of `compare`


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Who decides on a version, and why."""

    by: str
    reason: str
    run: str = ""  # the flow run in which they did

    def explain(self, decided: str) -> str:
        """The reason of a verdict: what was decided, by whom, why."""
        return f"{decided} by {self.by}{f': {self.reason}' if self.reason else ''}"

    def tags(self) -> dict[str, str]:
        """The review as tags of a version, with the time."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"by": self.by, "reason": self.reason, "run": self.run, "at": now}
        return {f"{DECIDED}_{key}": value for key, value in facts.items()}


def compare(client: MlflowClient, task: Task, version: str) -> SideBySide:
    """A version (a number, or an alias) beside the champion.

    Raises PromotionError where there is no such version, or where the run that measured it is gone.
    """
    name = task.description().model_name
    found = get_version(client, name, version)
    champion = with_alias(client, name, CHAMPION)
    candidate = describe(client, found)
    if not candidate.run_id:
        raise PromotionError(
            f"{name} version {candidate.version}: MLflow no longer has the run that measured it ({found.run_id}), so "
            f"it cannot be compared"
        )
    return SideBySide(
        model=name,
        candidate=candidate,
        champion=describe(client, champion) if champion else None,
        commit=facts(found).get("unroll.git_commit", "unknown"),
        dirty=facts(found).get("unroll.git_dirty") == "true",
    )


def download_pictures(client: MlflowClient, candidate: Version, folder: Path) -> None:
    """Write the learning curve of a version and the pictures of its evaluation to `folder`, where its run has any."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as downloads:
        for path in (CURVE, f"evaluation/{PICTURES}"):
            parent = path.rpartition("/")[0]
            if any(file.path == path for file in client.list_artifacts(candidate.run_id, parent or None)):
                local = Path(client.download_artifacts(candidate.run_id, path, downloads))
                copy = partial(shutil.copytree, dirs_exist_ok=True) if local.is_dir() else shutil.copyfile
                copy(local, folder / local.name)


def approve(client: MlflowClient, task: Task, version: str, champion_version: str, review: Review) -> str:
    """Make a version the champion, if it answers, and say so. Raises PromotionError, and changes nothing, where it does
    not.

    Nor does anything change where the champion is another than `champion_version`, which the person saw.
    """
    name = task.description().model_name
    check_champion(client, name, champion_version)
    candidate = load_and_try(task, name, str(get_version(client, name, version).version))
    reason = review.explain("approved")
    make_champion(client, candidate, reason, champion_version=champion_version, tags=review.tags())
    return f"version {candidate.version} is champion ({reason})"


def reject(client: MlflowClient, task: Task, version: str, review: Review) -> None:
    """Note on a version that a person does not want it. Raises PromotionError where it has become the champion."""
    name = task.description().model_name
    found = get_version(client, name, version)
    number = str(found.version)
    if CHAMPION in found.aliases:
        raise PromotionError(
            f"{name}: version {number} is the champion by now; nothing was changed; use `rollback` to replace it"
        )
    _note(client, name, number, Verdict(Decision.CHALLENGER_LOST, review.explain("rejected")), review)


def roll_back(client: MlflowClient, task: Task, review: Review) -> tuple[str, str]:
    """Make the version champion again that the present champion has replaced; returns both numbers, the new one first.

    The version that goes is marked, so that registering the same content again does not bring it back. Raises
    PromotionError, and changes nothing, where no champion was before it, or where that one is gone or does not answer.
    """
    name = task.description().model_name
    with model_lock(name):
        champion = get_version(client, name, CHAMPION)
        champion_version = str(champion.version)
        previous_champion = champion.tags.get(PREVIOUS_CHAMPION, NONE)
        if previous_champion == NONE:
            raise PromotionError(f"{name} version {champion_version} is the first champion; no earlier champion exists")
        candidate = load_and_try(task, name, previous_champion)
        reason = review.explain(f"rolled back from version {champion_version}")
        make_champion(client, candidate, reason, champion_version=champion_version, tags=review.tags(), go_back=True)
        left = Verdict(Decision.ROLLED_BACK, review.explain(f"rolled back to version {previous_champion}"))
        _note(client, name, champion_version, left, review)
    return previous_champion, champion_version


def _note(client: MlflowClient, name: str, version: str, verdict: Verdict, review: Review) -> None:
    for key, value in review.tags().items():
        client.set_model_version_tag(name, version, key, value)
    write_verdict(client, name, version, verdict)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.registry.promotion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=["compare", "approve", "reject"])
    parser.add_argument("task", choices=Task.names(), metavar="TASK", help=f"one of {', '.join(Task.names())}")
    parser.add_argument("--version", default=CHALLENGER, help="number of the version (default: the challenger)")
    parser.add_argument(
        "--folder", type=Path, help="compare: write the comparison, the learning curve and pictures to this folder"
    )
    parser.add_argument("--champion", default="", help="approve: the champion that the version was compared with")
    parser.add_argument("--by", default="", help="approve, reject: who decides (default: the current user)")
    parser.add_argument("--reason", default="", help="approve, reject: why")
    parser.add_argument("--run", default="", help="approve, reject: the flow run in which it was decided")
    args = parser.parse_args()
    if args.verb == "approve" and not args.champion:
        parser.error(
            f"approve: --champion is missing; allowed: a version, as `compare {args.task}` shows it, or {NONE}"
        )
    task, review = Task(args.task), Review(by=args.by or getpass.getuser(), reason=args.reason, run=args.run)
    with one_line_errors("unroll: promotion"):
        from ..tracking import mlflow_runs
        from .table import show_comparison

        client = mlflow_runs.open_client()
        match args.verb:
            case "compare":
                found = compare(client, task, args.version)
                show_comparison(task, found)
                if args.folder:
                    download_pictures(client, found.candidate, args.folder)
                    (args.folder / COMPARISON).write_text(found.model_dump_json(indent=2), encoding="utf-8")
            case "approve":
                print(f"{task.description().model_name}: {approve(client, task, args.version, args.champion, review)}")
            case "reject":
                reject(client, task, args.version, review)


if __name__ == "__main__":
    main()

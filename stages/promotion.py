"""Who becomes champion, where a person decides.

    python -m stages.promotion compare TASK --folder F     a version beside the champion: F/comparison.json, pictures
    python -m stages.promotion approve TASK --version 3 --champion 2 --by NAME --reason TEXT --run NAME
    python -m stages.promotion reject  TASK --version 3 --champion 2 --by NAME --reason TEXT --run NAME

A champion changes as a whole or not at all: the version is loaded and asked for an answer, the alias is moved, the
decision is noted on the version; where one of that fails, the alias stands where it stood. `--champion` is the version
that the person saw beside the other one ("none" where there was none): where it is another by now, nothing is decided.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from .standing import Version, describe, with_alias
from .stopping import stop_signals
from .tasks import Task

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, NONE = "champion", "challenger", "none"
COMPARISON, PICTURES, CURVE = "comparison.json", "pictures", "training.csv"  # in the folder of `compare`

# Tags of a version that a person has decided on. The champion before it is who a rollback goes back to.
DECIDED, PREVIOUS = "unroll.decided", "unroll.previous_champion"


class PromotionError(RuntimeError):
    """A version cannot be compared or promoted; the message says which and why."""


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


def compare(store: MlflowClient, task: Task, version: str, folder: Path) -> Comparison:
    """A version (a number, or an alias) beside the champion; writes its pictures and its learning curve into `folder`.

    Raises PromotionError where there is no such version, or where the run that measured it is gone.
    """
    name = task.description().model_name
    found = _version(store, name, version)
    champion = with_alias(store, name, CHAMPION)
    candidate = describe(store, found)
    if not candidate.run_id:
        raise PromotionError(
            f"{name} version {candidate.version}: MLflow no longer has the run that measured it ({found.run_id}), so "
            f"there is nothing to decide on"
        )
    _fetch(store, candidate.run_id, folder)
    return Comparison(
        model=name,
        candidate=candidate,
        champion=describe(store, champion) if champion else None,
        commit=found.tags.get("unroll.git_commit", "unknown"),
        dirty=found.tags.get("unroll.git_dirty") == "true",
    )


def approve(store: MlflowClient, task: Task, decision: Decision) -> None:
    """Make a version the champion, if it answers. Raises PromotionError, and changes nothing, where it does not.

    Nor does anything change where the champion is another than the person saw.
    """
    name = task.description().model_name
    before = _champion_as_seen(store, name, decision)
    _version(store, name, decision.version)
    _ask(task, name, decision.version)
    _champion_as_seen(store, name, decision)  # once more: to load a model takes seconds
    with stop_signals():  # to be asked to stop in the middle of it stops after it
        _move(store, name, decision, before)


def _move(store: MlflowClient, name: str, decision: Decision, before: str) -> None:
    try:
        store.set_registered_model_alias(name, CHAMPION, decision.version)
        if before != decision.version:
            store.set_model_version_tag(name, decision.version, PREVIOUS, before)
        _note(store, name, decision, "champion: approved")
    except Exception:
        if before == NONE:
            store.delete_registered_model_alias(name, CHAMPION)
        else:
            store.set_registered_model_alias(name, CHAMPION, before)
        raise


def reject(store: MlflowClient, task: Task, decision: Decision) -> None:
    """Note on a version that a person does not want it."""
    name = task.description().model_name
    _version(store, name, decision.version)
    _note(store, name, decision, "rejected")


def _note(store: MlflowClient, name: str, decision: Decision, verdict: str) -> None:
    from .registry import VERDICT_TAG

    now = datetime.now(UTC).isoformat(timespec="seconds")
    why = f"{verdict} by {decision.by}{f': {decision.reason}' if decision.reason else ''}"
    facts = {"by": decision.by, "reason": decision.reason, "run": decision.run, "at": now}
    for key, value in facts.items():
        store.set_model_version_tag(name, decision.version, f"{DECIDED}_{key}", value)
    store.set_model_version_tag(name, decision.version, VERDICT_TAG, why)


def _version(store: MlflowClient, name: str, version: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    if not version.isdigit():
        found = with_alias(store, name, version)
        if found is None:
            raise PromotionError(f"{name}: no version has the alias {version!r}; register one first, or name a version")
        return found
    try:
        return store.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise PromotionError(f"{name}: there is no version {version}") from None


def _champion_as_seen(store: MlflowClient, name: str, decision: Decision) -> str:
    champion = with_alias(store, name, CHAMPION)
    found = str(champion.version) if champion else NONE
    if found != decision.champion:
        raise PromotionError(
            f"{name}: the champion is version {found} by now, not {decision.champion} as it was shown; nothing has "
            f"changed: decide on a new comparison"
        )
    return found


def _ask(task: Task, name: str, version: str) -> None:
    """Load a version and have it answer the task's example."""
    import mlflow.pyfunc
    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        try:
            model = mlflow.pyfunc.load_model(f"models:/{name}/{version}")
            answer = model.predict(pd.DataFrame(task.example(Path(folder))))
        except Exception as error:  # it is foreign code, and may raise whatever it likes
            reason = next(iter(str(error).splitlines()), "")
            raise PromotionError(
                f"{name} version {version} does not answer: {type(error).__name__}: {reason}; the champion stays"
            ) from error
    promised = model.metadata.signature.outputs.input_names()
    missing = [column for column in promised if column not in answer.columns]
    if missing or answer.empty or answer[promised].isna().to_numpy().any():
        raise PromotionError(
            f"{name} version {version} does not answer as its signature says: found {len(answer)} rows of "
            f"{', '.join(map(str, answer.columns))}; allowed: {', '.join(promised)}, all filled; the champion stays"
        )


def _fetch(store: MlflowClient, run_id: str, folder: Path) -> None:
    for path, name in ((CURVE, CURVE), (f"evaluation/{PICTURES}", PICTURES)):
        parent = path.rpartition("/")[0]
        if any(file.path == path for file in store.list_artifacts(run_id, parent or None)):
            local = Path(store.download_artifacts(run_id, path, str(folder)))
            local.rename(folder / name)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.promotion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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
    # A model that came from elsewhere must not run code while it is read.
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from . import runs, tracking

    task, verb = Task(asked.task), asked.verb
    decision = Decision(version=asked.version, champion=asked.champion, by=asked.by, reason=asked.reason, run=asked.run)
    try:
        _carry_out(verb, runs.client(), task, decision, asked.folder)
    except PromotionError as error:
        sys.exit(f"unroll: promotion: {error}")
    except (MlflowException, SQLAlchemyError, OSError) as error:
        where = tracking.without_credentials(tracking.store_uri())
        reason = tracking.without_credentials(next(iter(str(error).splitlines()), type(error).__name__))
        sys.exit(f"unroll: promotion: MLflow at {where}: {reason}")


def _carry_out(
    verb: Literal["compare", "approve", "reject"], store: MlflowClient, task: Task, decision: Decision, folder: Path
) -> None:
    match verb:
        case "compare":
            found = compare(store, task, decision.version, folder)
            (folder / COMPARISON).write_text(found.model_dump_json(indent=2), encoding="utf-8")
        case "approve":
            approve(store, task, decision)
        case "reject":
            reject(store, task, decision)


if __name__ == "__main__":
    main()

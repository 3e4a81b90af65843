"""A person decides who becomes champion: the flow compares a version with the champion and waits for the decision.

While it waits, there is no process, only a row in Prefect's database: server, worker and machine may be restarted. The
versions that the person was shown are kept there as well, so that exactly these are approved, even if another version
has become challenger meanwhile.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.input.actions import create_flow_run_input, read_flow_run_input
from prefect.runtime import flow_run as present_run
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from stages.registry.promotion import CHALLENGER, COMPARISON, CURVE, NONE, PICTURES
from stages.registry.status import SideBySide, Version
from stages.tasks.protocol import Task

from .execution import cancellation
from .execution.supervisor import run_supervised
from .options import Options, TaskName
from .reports import pictures
from .reports.report import MLFLOW_UI
from .reports.tables import comparison_report

_SHOWN_KEY = "seen"  # of the versions that the person was shown, among the flow run's inputs
_FORM_KEY = "decision"


class Candidate(Options):
    """Which version may become champion: the form that starts the flow."""

    task: TaskName = Field(description="Task of the model")
    version: Annotated[str, Field(pattern=rf"^({CHALLENGER}|[0-9]+)$")] = Field(
        default=CHALLENGER, description=f"A version's number, or {CHALLENGER}"
    )


class Decision(RunInput):
    """The form that the flow waits for."""

    decision: Literal["approve", "reject"] = Field(description="approve: this version becomes champion")
    by: str = Field(min_length=1, description="Who decides; recorded on the version")
    reason: str = Field(default="", description="Reason; recorded on the version, too")


@flow(name="promote", persist_result=False)
def promote(candidate: Candidate) -> State[Any]:
    """Compare a model version with the champion, wait for a person to decide, and move the alias if they approve."""
    with cancellation.stopping() as stop:
        shown = cast("dict[str, str] | None", read_flow_run_input(_SHOWN_KEY))
        form = Decision
        if shown is None:
            comparison = _compare(candidate, stop)
            if isinstance(comparison, State):
                return comparison
            versions, text = comparison
            shown = {"version": versions.candidate.version, "champion": _number(versions.champion)}
            create_flow_run_input(_SHOWN_KEY, shown)
            form = Decision.with_initial_data(description=text)
        decision = suspend_flow_run(wait_for_input=form, key=_FORM_KEY)
        return _carry_out(candidate.task, shown, decision, stop)


def _compare(candidate: Candidate, stop: threading.Event) -> tuple[SideBySide, str] | State[Any]:
    """Show the comparison as an artifact; returns it, and as text. A final state where there is nothing to decide."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        failed = _promotion("compare", candidate.task, stop, version=candidate.version, folder=name)
        if failed is not None:
            return failed
        comparison = SideBySide.model_validate_json((folder / COMPARISON).read_text(encoding="utf-8"))
        version = comparison.candidate.version
        if comparison.champion and comparison.champion.version == version:
            return Completed(message=f"{comparison.model} version {version} is already the champion")
        drawn = pictures.of_folder(folder / CURVE, folder / PICTURES)
    text = comparison_report(Task(candidate.task), comparison, os.environ.get(MLFLOW_UI))
    report = f"{text}\n\n{drawn}" if drawn else text
    create_markdown_artifact(report, key="report", description="The version that may become champion")
    return comparison, text


def _carry_out(task: str, shown: dict[str, str], decision: Decision, stop: threading.Event) -> State[Any]:
    run = f"{present_run.get_name()} ({present_run.get_id()})"
    failed = _promotion(decision.decision, task, stop, **shown, by=decision.by, reason=decision.reason, run=run)
    if failed is not None:
        return failed
    name = f"{Task(task).description().model_name} version {shown['version']}"
    if decision.decision == "reject":
        return Completed(message=f"{name} was rejected by {decision.by}", name="Rejected")
    before = "no champion before it" if shown["champion"] == NONE else f"after version {shown['champion']}"
    return Completed(message=f"{name} is champion, {before}; approved by {decision.by}")


def _promotion(verb: str, task: str, stop: threading.Event, **options: str) -> State[Any] | None:
    """Run `stages.registry.promotion` in a process of its own; a final state where it was stopped or failed."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    result = run_supervised(
        [sys.executable, "-m", "stages.registry.promotion", verb, task, *arguments],
        folder=Path(),
        stop=stop,
        on_line=get_run_logger().info,
    )
    if stop.is_set():
        return Cancelled(message="stopped")
    if result.status:
        message = next((line for line in reversed(result.tail) if line.strip()), f"status {result.status}")
        return Failed(message=message)
    return None


def _number(version: Version | None) -> str:
    return version.version if version else NONE

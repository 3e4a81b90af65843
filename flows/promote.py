"""A person decides who becomes champion: the flow shows a version beside the champion, waits for a form, acts on it.

While it waits, it is no process but a row in Prefect's database: server, worker and machine may be restarted. What the
person saw is kept there as well, so that what they approve is what they saw, whoever has become challenger meanwhile.
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
from pydantic import BaseModel, Field

from stages.registry.promotion import CHALLENGER, COMPARISON, CURVE, NONE, PICTURES, SideBySide
from stages.registry.status import Version
from stages.tasks.protocol import Task

from .execution import cancellation
from .execution.supervisor import supervised
from .options import TaskName
from .reports import pictures
from .reports.report import MLFLOW_UI
from .reports.tables import comparison

_SEEN = "seen"  # the key of what the person was shown, among the flow run's inputs
_FORM = "decision"


class Candidate(BaseModel):
    """Which version may become champion: the form that starts the flow."""

    task: TaskName = Field(description="Task whose model it is")
    version: Annotated[str, Field(pattern=rf"^({CHALLENGER}|[0-9]+)$")] = Field(
        default=CHALLENGER, description=f"A version's number, or {CHALLENGER}"
    )


class Decision(RunInput):
    """What the person decides: the form that the flow waits for."""

    decision: Literal["approve", "reject"] = Field(description="approve: this version becomes champion")
    by: str = Field(min_length=1, description="Who decides; stands on the version ever after")
    reason: str = Field(default="", description="Why; stands there, too")


@flow(name="promote", persist_result=False)
def promote(candidate: Candidate) -> State[Any]:
    """Show a model version beside the champion, wait for a person, and move the alias if they approve."""
    with cancellation.stopping() as stop:
        seen = cast("dict[str, str] | None", read_flow_run_input(_SEEN))
        form = Decision
        if seen is None:
            shown = _show(candidate, stop)
            if isinstance(shown, State):
                return shown
            compared, text = shown
            seen = {"version": compared.candidate.version, "champion": _number(compared.champion)}
            create_flow_run_input(_SEEN, seen)
            form = Decision.with_initial_data(description=text)
        answer = suspend_flow_run(wait_for_input=form, key=_FORM)
        return _carry_out(candidate.task, seen, answer, stop)


def _show(candidate: Candidate, stop: threading.Event) -> tuple[SideBySide, str] | State[Any]:
    """Show the comparison as an artifact; returns it, and as text. A final state where there is nothing to decide."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        failed = _promotion("compare", candidate.task, stop, version=candidate.version, folder=name)
        if failed is not None:
            return failed
        compared = SideBySide.model_validate_json((folder / COMPARISON).read_text(encoding="utf-8"))
        if compared.champion and compared.champion.version == compared.candidate.version:
            return Completed(message=f"{compared.model} version {compared.candidate.version} is the champion already")
        drawn = pictures.of_folder(folder / CURVE, folder / PICTURES)
    text = comparison(Task(candidate.task), compared, os.environ.get(MLFLOW_UI))
    create_markdown_artifact(
        "\n\n".join(filter(None, [text, drawn])), key="report", description="The version that may become champion"
    )
    return compared, text


def _carry_out(task: str, seen: dict[str, str], answer: Decision, stop: threading.Event) -> State[Any]:
    asked = {"by": answer.by, "reason": answer.reason, "run": f"{present_run.get_name()} ({present_run.get_id()})"}
    failed = _promotion(answer.decision, task, stop, **seen, **asked)
    if failed is not None:
        return failed
    name = f"{Task(task).description().model_name} version {seen['version']}"
    before = "no champion before it" if seen["champion"] == NONE else f"after version {seen['champion']}"
    if answer.decision == "approve":
        return Completed(message=f"{name} is champion, {before}; approved by {answer.by}")
    return Completed(message=f"{name} was rejected by {answer.by}", name="Rejected")


def _promotion(verb: str, task: str, stop: threading.Event, **options: str) -> State[Any] | None:
    """Run `stages.registry.promotion` in a process of its own; a final state where it did not do what it was asked."""
    log = get_run_logger()
    arguments = [f"--{name}={value}" for name, value in options.items()]
    ended = supervised(
        [sys.executable, "-m", "stages.registry.promotion", verb, task, *arguments],
        folder=Path(),
        stop=stop,
        on_line=log.info,
    )
    if stop.is_set():
        return Cancelled(message="stopped")
    if ended.status:
        return Failed(message=next((line for line in reversed(ended.tail) if line.strip()), f"status {ended.status}"))
    return None


def _number(version: Version | None) -> str:
    return version.version if version else NONE

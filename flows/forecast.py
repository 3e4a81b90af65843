"""The champion's forecasts of the coming days, and scores of its earlier forecasts.

`stages.forecast` and `stages.score` do the work, in processes of their own; the flow shows the results.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import AfterValidator, Field, WithJsonSchema

from stages.tasks.protocol import Task

from .execution import cancellation
from .execution.supervisor import CommandResult, run_supervised
from .options import Options
from .reports.scores import show_scores

FORECASTING = [name for name in Task.names() if Task(name).has_forecasts]


def _check_task(name: str) -> str:
    if name not in FORECASTING:
        raise ValueError(f"found {name!r}; allowed: {', '.join(FORECASTING)}, whose models forecast")
    return name


class ForecastOptions(Options):
    """The form that starts the flow."""

    tasks: list[
        Annotated[str, AfterValidator(_check_task), WithJsonSchema({"type": "string", "enum": FORECASTING})]
    ] = Field(default=FORECASTING, min_length=1, description="Tasks whose champions forecast")
    score: bool = Field(default=True, description="Also score earlier forecasts against the values since observed")


@flow(name="forecast", persist_result=False)
def forecast(options: ForecastOptions) -> State[Any]:
    """Forecast the days after the newest prepared data with the champions, and score their earlier forecasts."""
    messages = []
    with cancellation.stopping() as stop:
        for name in options.tasks:
            verbs = ["forecast", "score"] if options.score else ["forecast"]
            for verb in verbs:
                done = _run(verb, name, stop)
                if stop.is_set():
                    return Cancelled(message="stopped")
                line = next((line for line in reversed(done.tail) if line.strip()), f"status {done.status}")
                if done.status:
                    return Failed(message=line)
                messages.append(line)
            if options.score:
                show_scores(name)
    return Completed(message="\n".join(messages))


def _run(verb: str, task: str, stop: threading.Event) -> CommandResult:
    command = [sys.executable, "-m", f"stages.{verb}", task]
    return run_supervised(command, folder=Path(), stop=stop, on_line=get_run_logger().info)

"""The options of a run of the pipeline: the form in Prefect's UI, the arguments of `flows.run`."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from stages.tasks.protocol import Task


def _check_task(name: str) -> str:
    if name not in Task.names():
        raise ValueError(f"found {name!r}; allowed: {', '.join(Task.names())}")
    return name


Verb = Literal["download", "preprocess", "train", "evaluate", "register"]
TaskName = Annotated[str, AfterValidator(_check_task), WithJsonSchema({"type": "string", "enum": list(Task.names())})]


class Options(BaseModel):
    """A form that starts a flow. A misspelt option is refused: without it, the run would do something else."""

    model_config = ConfigDict(extra="forbid")


class PipelineOptions(Options):
    """What to run, and where."""

    tasks: list[TaskName] = Field(default=list(Task.names()), min_length=1, description="Tasks to bring up to date")
    up_to: Verb = Field(default="register", description="Last stage to run for each task")
    force: bool = Field(default=False, description="Run the chosen stages even if nothing has changed")
    overrides: list[str] = Field(
        default=[],
        description="Params for this run only, such as sketch.train.epochs=3. The run uses a copy of the checkout and "
        "is saved as a DVC experiment. Its models stay challengers, however good, until a person promotes them",
    )
    where: Literal["auto", "here", "pool"] = Field(
        default="auto",
        description="auto: stages that need a GPU run in the pool if this machine has none and a worker is online; "
        "here: all stages run on this machine; pool: all stages run on workers of the pool",
    )
    pool: str = Field(default="gpu", description="Work pool for stages that do not run on this machine")
    parallel: int = Field(
        default=os.cpu_count() or 1, ge=1, description="Number of stages that run at the same time on this machine"
    )
    refresh: bool = Field(
        default=False,
        description="Nightly run: check the sources for new data, retrain if monitor.retrain says so, monitor the "
        "champion and make its forecasts. Off: run whatever is out of date, as `dvc repro` does, and ignore the policy",
    )
    commit: bool = Field(
        default=False,
        description="With refresh: commit sources/, dvc.lock and params.yaml on the branch unroll/nightly",
    )

    @model_validator(mode="after")
    def _starts_from_the_checkout(self) -> PipelineOptions:
        if self.refresh and self.overrides:
            raise ValueError(
                "found refresh with overrides; allowed: refresh alone, since a nightly run uses the checkout's params"
            )
        if self.commit and not self.refresh:
            raise ValueError("found commit without refresh; allowed: both")
        return self

    def targets(self) -> tuple[str, ...]:
        """The last stage of each chosen task, each once: of data alone, those of the task that has them."""
        of_data = self.up_to in ("download", "preprocess")
        names = [Task(name).description().dataset_task if of_data else name for name in self.tasks]
        return tuple(dict.fromkeys(f"{self.up_to}@{name}" for name in names))

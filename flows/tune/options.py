"""The options of a search: the form in Prefect's UI, the arguments of `flows.tune`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ..options import Options, PipelineOptions, TaskName, Verb
from .study import Method


class TuneOptions(Options):
    """What to search, and how."""

    task: TaskName = Field(description="Task whose params are searched")
    search: list[str] = Field(
        min_length=1,
        description="One line per param: forecast.train.learning_rate=log(1e-4, 1e-1), or =uniform(0, 0.5), "
        "=int(1, 4), =log_int(8, 256), =[32, 64, 128]",
    )
    method: Method = Field(
        default="tpe", description="tpe: learns from earlier trials; random; grid: every combination"
    )
    trials: int = Field(default=20, ge=1, description="Total number of trials; a grid stops after this many")
    parallel: int = Field(
        default=1, ge=1, description="Number of trials at the same time. A study is exactly repeatable only with 1"
    )
    seed: int = Field(default=1, ge=0, description="Seed for sampling the values")
    prune: bool = Field(default=True, description="Stop trials whose validation metric is worse than the median")
    up_to: Literal["train", "evaluate"] = Field(default="train", description="Last stage of each trial")
    overrides: list[str] = Field(default=[], description="Params for all trials, such as forecast.train.epochs=10")
    where: Literal["auto", "here", "pool"] = Field(
        default="auto", description="Where the stages of a trial run, as in the flow pipeline"
    )
    pool: str = Field(default="gpu", description="Work pool for stages that do not run on this machine")
    study: str = Field(
        default="",
        pattern="^([A-Za-z0-9][A-Za-z0-9-]*)?$",
        description="Name of the study; empty: the name of this run. The name of a stopped study continues it",
    )

    def identity(self) -> dict[str, Any]:
        """The options that make a study what it is: the same for all its trials."""
        return self.model_dump(include={"task", "search", "method", "seed", "prune", "overrides"})

    def of_a_trial(self, up_to: Verb) -> PipelineOptions:
        """The stages of one trial, one after the other."""
        return PipelineOptions(tasks=[self.task], up_to=up_to, where=self.where, pool=self.pool, parallel=1)

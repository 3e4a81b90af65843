"""The pipeline as a Prefect flow: one task for each stage of dvc.yaml, side by side where the graph allows.

`flows.run` starts it from the command line; the deployment of the same name, from Prefect's UI and by schedule.

DVC decides what must run; the flow decides only when and where. After it, dvc.lock is what a serial `dvc repro` would
have written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as present_run
from prefect.task_runners import ThreadPoolTaskRunner

from stages.params import load
from stages.params_yaml import PARAMS_FILE
from stages.registry.decision import OVERRIDES_VARIABLE

from .dag import PlannedStage
from .execution import cancellation
from .execution.experiment import check_out, experiment, save_experiment
from .execution.placement import placement
from .execution.stage import Checkout
from .execution.stage_runs import StageRuns
from .execution.states import summary
from .execution.worktree import remove_abandoned
from .night.night import night
from .options import PipelineOptions
from .reports.report import Reporter
from .reports.tables import plan_table


@flow(name="pipeline", persist_result=False, task_runner=ThreadPoolTaskRunner())  # type: ignore[arg-type]
def pipeline(options: PipelineOptions = PipelineOptions()) -> State[Any]:  # noqa: B008, Prefect's form shows this default
    """Bring stages up to date: download, preprocess, train, evaluate and register, for the chosen tasks."""
    remove_abandoned(Path())
    root = experiment(Path(), options.overrides) if options.overrides else nullcontext(Path())
    environment = {OVERRIDES_VARIABLE: " ".join(options.overrides)} if options.overrides else {}
    with (
        cancellation.stopping() as stop,
        root as folder,
        Reporter(folder, stop=stop, environment=environment) as report,
    ):
        if options.refresh:
            return night(options, report, stop)
        checkout = Checkout(folder, stop=stop, environment=environment)
        if options.overrides:
            check_out(checkout, checkout.pipeline.needed(options.targets()))
        states = run_pipeline(checkout, options, on_plan=report.expect)
        if options.overrides and all(state.is_completed() for state in states.values()):
            save_experiment(checkout, states, name=str(present_run.get_name()))
        report.finish(states)
        return summary(states)


def run_pipeline(
    checkout: Checkout,
    options: PipelineOptions,
    *,
    on_plan: Callable[[Sequence[PlannedStage]], None] = lambda _: None,
) -> dict[str, State[Any]]:
    """Bring the chosen stages up to date in a checkout, inside a flow; returns how each of them ended."""
    load(checkout.root / PARAMS_FILE)
    plan = placement(checkout, checkout.pipeline.plan(options.targets(), force=options.force), options)
    on_plan(plan)
    create_markdown_artifact(plan_table(plan), key="plan", description="Which stages run, where and why")
    runs = StageRuns(checkout, force=options.force, parallel=options.parallel)
    runs.run(plan)
    return runs.states

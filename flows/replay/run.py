"""A replay from the raw files to the tables: who needs what."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from stages.monitoring.control_chart import Reference
from stages.monitoring.scoring import references
from stages.params_yaml import PARAMS_FILE
from stages.paths import SERVED, network_folder
from stages.progress_bar import tell
from stages.tasks.forecast.data.series import HORIZON, calendar_date, day_number
from stages.tasks.forecast.params import Params
from stages.tasks.protocol import Task

from ..reports.replay import FOLDER
from .judge import Gate, Promotion
from .options import OptionError, Plan
from .outcome import write
from .policies import foreseen
from .raw_files import RawFiles
from .snapshot import Snapshot
from .summary import shown
from .trainings import Training, Trainings
from .walk import Walk
from .watch import Charts

_MODELS = 8  # that stay in memory: as many as policies, and those before them


def replay(task: Task, params: Params, plan: Plan, *, every: str, promotion: Promotion, parallel: int) -> None:
    """Replay the past in the present folder. Raises ValueError where the data is not there, or too short on a day."""
    if start := params.train.start_from:
        allowed = "allowed in a replay: empty, since such weights may have learned from later days"
        raise OptionError(f"{task.name}.train.start_from: found {start!r}; {allowed}")
    with tempfile.TemporaryDirectory(prefix="unroll-replay-") as scratch:
        shutil.copyfile(PARAMS_FILE, Path(scratch) / PARAMS_FILE)
        raw = _raw_files(task, params, plan)
        walk = _decide(task, params, plan, raw, Path(scratch), promotion=promotion, parallel=parallel)
    facts = {"from": str(plan.days[0]), "to": str(plan.days[-1]), "every": every, "promotion": promotion}
    print(shown(write(task.name, walk, plan.policies, facts)))
    print(f"{FOLDER / task.name}/: forecasts.csv, decisions.csv, replay.json, replay.png, report.md")
    if walk.unanswered:
        name, reason = next(iter(walk.unanswered.items()))
        print(f"{len(walk.unanswered):,} series had days without a forecast, such as {name}: {reason}")


def _raw_files(task: Task, params: Params, plan: Plan) -> RawFiles:
    raw = RawFiles(task.paths.raw, params.prepare)
    if raw.undated:
        tell(f"replay: {raw.undated:,} lines without a readable date are left out, such as {raw.example}")
    if day_number(plan.days[-1]) > raw.last_day:
        last = calendar_date(raw.last_day)
        raise OptionError(
            f"--to: found the day of decision {plan.days[-1]}; allowed: up to {last}, where the data ends"
        )
    return raw


def _decide(
    task: Task, params: Params, plan: Plan, raw: RawFiles, scratch: Path, *, promotion: Promotion, parallel: int
) -> Walk:
    pause = params.monitor.pause_days
    days = [day_number(day) for day in plan.days]
    needed = [day_number(day) for day in foreseen(plan.policies, plan.days, pause)]
    with Trainings(task, params, raw, scratch, parallel=parallel) as trainings:
        Snapshot.take(task, params, raw, days[0], scratch / "first")  # too little data is told at once
        trainings.make(needed)

        def snapshot(day: int) -> Snapshot:
            for older in scratch.glob("day-*"):
                shutil.rmtree(older)
            return Snapshot.take(task, params, raw, day, scratch / f"day-{day}")

        @lru_cache(_MODELS)
        def model(training: Training) -> Any:
            return task.predictor()(network_folder(training.weights, SERVED))

        walk = Walk(
            snapshots=snapshot,
            trainings=trainings.of,
            models=model,
            judge=Gate(task, params, promotion),
            watch=lambda: Charts(params.monitor.alarm, _references(task, trainings.of)),
            pause_days=pause,
        )
        walk.run(plan.policies, days, min(days[-1] + HORIZON, raw.last_day))
    return walk


def _references(
    task: Task, trainings: Callable[[int], Training]
) -> Callable[[int], Mapping[tuple[int, str], Reference]]:
    """The errors on the test split by version, the day of whose snapshot is its number."""
    import pandas as pd

    @lru_cache(None)
    def found(version: int) -> Mapping[tuple[int, str], Reference]:
        path = trainings(version).folder / task.paths.evaluation / "predictions.csv"
        table = pd.read_csv(path, dtype={"unique_id": str}, parse_dates=["ds"], na_filter=False)
        return references({version: table})

    return found

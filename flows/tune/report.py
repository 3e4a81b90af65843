"""What a study shows while it goes on, and what it leaves at its end: in Prefect, in its folder, in MLflow."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from ..reports import pictures
from . import trials
from .mlflow_run import PICTURE, TABLE, StudyFacts
from .study import Study
from .study_run import StudyRun
from .trial import StudyContext


class TrialsTable:
    """The artifact with the trials, which grows while the study goes on."""

    def __init__(self, context: StudyContext, study: Study) -> None:
        self._context = context
        self._study = study
        self._id: UUID | None = None

    def show(self) -> None:
        """Bring it up to date; a server that does not answer now gets it the next time."""
        context, study = self._context, self._study
        text = trials.markdown(study.records(), study.best(), monitor=context.monitor, name=context.name)
        try:
            if self._id is None:
                description = f"Trials of the study {context.study}"
                self._id = create_markdown_artifact(text, key="trials", description=description)  # type: ignore[assignment]
            else:
                with get_client(sync_client=True) as client:
                    client.update_artifact(self._id, ArtifactUpdate(data=text))
        except httpx.HTTPError as error:
            get_run_logger().warning("the table of trials could not be shown: %s", error)


def report(context: StudyContext, study: Study, facts: StudyFacts, run: StudyRun) -> State[Any]:
    """Picture, CSV and MLflow's run; the flow's state names the best trial and the command that applies it."""
    records, best = study.records(), study.best()
    counts = Counter(one.state for one in records)
    total = f"{len(records)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    picture = trials.picture(records, study.dimensions, monitor=context.monitor, minimise=study.minimise)
    (run.folder / PICTURE).write_bytes(picture)
    (run.folder / TABLE).write_text(trials.as_csv(records, name=context.name), encoding="utf-8")
    create_markdown_artifact(
        pictures.markdown({"trials": picture}), key="trials-plot", description=f"Trials of the study {context.study}"
    )
    run.end(replace(facts, trials=[asdict(one) for one in records], best=best.number if best else None))
    if best is None:
        reasons = "\n".join(f"trial {one.number}: {one.message}" for one in records if one.state == "failed")
        return Failed(message=f"{total}\n\n{reasons}")
    command = trials.apply_command(context.name(best.number))
    get_run_logger().info("best: trial %d; `%s` applies it to the checkout", best.number, command)
    return Completed(message=f"{total}; best: trial {best.number}, {context.monitor} {best.objective:.6g}; {command}")

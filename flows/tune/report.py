"""What a study shows while it goes on, and what it leaves at its end: in Prefect, in its folder, in MLflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from . import trials
from .mlflow_run import PICTURE, TABLE, Facts
from .space import Dimension
from .study import Study
from .study_run import StudyRun
from .trial import Setting


class Table:
    """The artifact with the trials, which grows while the study goes on."""

    def __init__(self, setting: Setting, study: Study) -> None:
        self._setting = setting
        self._study = study
        self._id: UUID | None = None

    def show(self) -> None:
        """Bring it up to date; a server that does not answer now gets it the next time."""
        try:
            self._show()
        except httpx.HTTPError as error:
            get_run_logger().warning("the table of trials could not be shown: %s", error)

    def _show(self) -> None:
        setting, study = self._setting, self._study
        text = trials.markdown(study.tried(), study.best(), monitor=setting.monitor, name=setting.name)
        if self._id is None:
            description = f"Trials of the study {setting.study}"
            self._id = create_markdown_artifact(text, key="trials", description=description)  # type: ignore[assignment]
        else:
            with get_client(sync_client=True) as client:
                client.update_artifact(self._id, ArtifactUpdate(data=text))


def report(
    setting: Setting,
    study: Study,
    dimensions: Sequence[Dimension],
    facts: Facts,
    folder: Path,
    run: StudyRun,
) -> State[Any]:
    """Picture, CSV and MLflow's run; the flow's state names the best trial and the command that applies it."""
    tried, best = study.tried(), study.best()
    counts = Counter(one.state for one in tried)
    total = f"{len(tried)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    picture = trials.picture(tried, dimensions, monitor=setting.monitor, minimise=study.minimise)
    (folder / PICTURE).write_bytes(picture)
    (folder / TABLE).write_text(trials.as_csv(tried, name=setting.name), encoding="utf-8")
    create_markdown_artifact(
        trials.embedded(picture), key="trials-plot", description=f"Trials of the study {setting.study}"
    )
    told = replace(facts, trials=[asdict(one) for one in tried], best=best.number if best else None)
    run.end(told)
    if best is None:
        reasons = "\n".join(f"trial {one.number}: {one.message}" for one in tried if one.state == "failed")
        return Failed(message=f"{total}\n\n{reasons}")
    command = trials.apply_command(setting.name(best.number))
    get_run_logger().info("best: trial %d; `%s` brings it into the checkout", best.number, command)
    return Completed(message=f"{total}; best: trial {best.number}, {setting.monitor} {best.objective:.6g}; {command}")

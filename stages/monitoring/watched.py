"""The version that is watched: the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry.champion import with_alias
from ..registry.decision import CHAMPION
from ..tracking import mlflow_runs
from ..tracking.store import missing_database

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..tasks.protocol import Task


def open_champion(task: Task) -> tuple[MlflowClient, ModelVersion]:
    """The registry and the champion in it. Raises ValueError where there is none, and says who knows why."""
    name = task.description().model_name
    if file := missing_database():  # a question leaves no new store behind
        raise ValueError(f"no models are registered: {file} does not exist; MLFLOW_TRACKING_URI sets another store")
    client = mlflow_runs.open_client()
    champion = with_alias(client, name, CHAMPION)
    if champion is None:
        raise ValueError(
            f"{name}: no version is champion: `dvc repro register@{task.name}` registers one, and "
            "`python -m stages.registry list` says why a registered version is not champion"
        )
    return client, champion

"""The version that is watched: the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry.champion import with_alias
from ..registry.decision import CHAMPION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..tasks.protocol import Task


def champion_of(client: MlflowClient, task: Task) -> ModelVersion:
    """The champion. Raises ValueError where there is none, and says who knows why."""
    name = task.description().model_name
    champion = with_alias(client, name, CHAMPION)
    if champion is None:
        raise ValueError(
            f"{name}: no version is champion: `dvc repro register@{task.name}` registers one, and "
            "`python -m stages.registry list` says why one that is registered is none"
        )
    return champion

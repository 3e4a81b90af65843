"""What `evaluate` found for a version before it was used: later answers are compared with it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.files import read_json
from ..registry.lineage import recorded
from ..registry.versions import METRICS_FILE
from ..tracking.store import found_or_none

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_PREDICTIONS = "evaluation/predictions.csv"
_NEEDED = ("actual", "unique_id", "ds", "q05", "q50", "q95")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The records of a version in the registry."""

    version: str
    metrics: dict[str, Any]  # of its test split, as in metrics/TASK.json
    predictions: pd.DataFrame | None  # of a forecaster: its test days; None where they are gone


def evaluation_of(client: MlflowClient, version: ModelVersion) -> Evaluation | None:
    """What was recorded of a version, given with its tags; None where it is gone."""
    with tempfile.TemporaryDirectory() as temporary:
        path = found_or_none(lambda: recorded(client, version, METRICS_FILE, Path(temporary)))
        metrics = read_json(path) if path else None
    return Evaluation(str(version.version), metrics, _predictions(client, version)) if metrics else None


def evaluations(client: MlflowClient, name: str, versions: list[int]) -> dict[int, Evaluation]:
    """Those of some versions of a model, by number, without those that are gone."""
    found = {}
    for number in versions:
        version = found_or_none(lambda number=number: client.get_model_version(name, str(number)))  # type: ignore[misc]
        evaluation = evaluation_of(client, version) if version else None
        if evaluation:
            found[number] = evaluation
    return found


def _predictions(client: MlflowClient, version: ModelVersion) -> pd.DataFrame | None:
    """The days of the test split, `_NEEDED` columns; None where they are gone, or are no forecasts."""
    import pandas as pd

    run_id = str(version.run_id)
    with tempfile.TemporaryDirectory() as temporary:
        files = found_or_none(lambda: [file.path for file in client.list_artifacts(run_id, "evaluation")]) or []
        if _PREDICTIONS not in files:
            return None
        path = client.download_artifacts(run_id, _PREDICTIONS, temporary)
        header = pd.read_csv(path, nrows=0).columns
        if not set(_NEEDED) <= set(header):
            return None
        return pd.read_csv(path, usecols=list(_NEEDED), dtype={"unique_id": str}, parse_dates=["ds"], na_filter=False)

"""Addresses of MLflow's pages that open in its "Model training" view.

Without `workflowType`, MLflow 3 opens its view for language models, whatever the tags of an experiment say.
`python -m stages.registry links` prints some, and `make ui` does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TRAINING = "workflowType=machine_learning"
_VIEW = "unroll"  # the name of a list of runs in an experiment, of which MLflow keeps the columns in a tag
_VIEW_TAG = f"mlflow.sharedViewState.{_VIEW}"


def page(path: str, ui: str = "") -> str:
    """The address of a page, such as `models/forecaster/versions/3`, of the MLflow at `ui`; else within its pages."""
    return f"{ui.rstrip('/')}{'/' if ui else ''}#/{path}{'&' if '?' in path else '?'}{_TRAINING}"


def version_page(model: str, version: str, ui: str = "") -> str:
    """The page of a model's version."""
    return page(f"models/{model}/versions/{version}", ui)


def run_page(experiment: str, run_id: str, ui: str = "", *, artifact: str = "") -> str:
    """The page of a run, or of one of its artifacts."""
    return page(f"experiments/{experiment}/runs/{run_id}{artifact and '/artifacts/'}{artifact}", ui)


def show_first(client: MlflowClient, experiment: str, metric: str) -> None:
    """Have the experiment's list of runs begin with a metric of the test split and its interval: MLflow sorts columns
    by name and shows no metric that nobody has chosen.
    """
    names = (f"test_{metric}", f"test_{metric}_low", f"test_{metric}_high", "training_seconds")
    view = json.dumps({"selectedColumns": [f"metrics.`{name}`" for name in names]})
    if client.get_experiment(experiment).tags.get(_VIEW_TAG) != view:
        client.set_experiment_tag(experiment, _VIEW_TAG, view)


def links(client: MlflowClient, ui: str) -> list[str]:
    """A line for each page where one begins to look: the runs of each task, the models."""
    lines = []
    for experiment in client.search_experiments(filter_string="name LIKE 'unroll/%'", order_by=["name ASC"]):
        view = f"?viewStateShareKey={_VIEW}" if _VIEW_TAG in experiment.tags else ""
        lines.append(f"{experiment.name:<20} {page(f'experiments/{experiment.experiment_id}/runs{view}', ui)}")
    return [*lines, f"{'models':<20} {page('models', ui)}"]

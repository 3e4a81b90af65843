"""Addresses of MLflow's pages, and with which metric an experiment's list of runs begins."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from stages.tracking import pages


class Client:
    """Two experiments of tasks."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, str]] = {"1": {}, "2": {}}
        self.calls = 0

    def get_experiment(self, number: str) -> Any:
        return SimpleNamespace(experiment_id=number, name=f"unroll/{number}", tags=self.tags[number])

    def search_experiments(self, **condition: Any) -> list[Any]:
        assert condition["filter_string"] == "name LIKE 'unroll/%'"
        return [self.get_experiment(number) for number in self.tags]

    def set_experiment_tag(self, number: str, key: str, value: str) -> None:
        self.calls += 1
        self.tags[number][key] = value


def test_every_link_opens_the_view_for_model_training():
    assert pages.version_page("m", "3", "http://h/") == "http://h/#/models/m/versions/3?workflowType=machine_learning"
    inside = "#/experiments/7/runs/ab/artifacts/x/CARD.md?workflowType=machine_learning"
    assert pages.run_page("7", "ab", artifact="x/CARD.md") == inside


def test_the_list_of_runs_begins_with_the_tasks_metric():
    client: Any = Client()
    for _ in range(2):
        pages.show_first(client, "1", "mae")
    assert client.calls == 1  # what stands there already is not written again
    (view,) = client.tags["1"].values()
    assert json.loads(view)["selectedColumns"][:2] == ["metrics.`test_mae`", "metrics.`test_mae_low`"]
    assert [line.split() for line in pages.links(client, "http://h")] == [
        ["unroll/1", "http://h/#/experiments/1/runs?viewStateShareKey=unroll&workflowType=machine_learning"],
        ["unroll/2", "http://h/#/experiments/2/runs?workflowType=machine_learning"],  # nothing is evaluated there yet
        ["models", "http://h/#/models?workflowType=machine_learning"],
    ]

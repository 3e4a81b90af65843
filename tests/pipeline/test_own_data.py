"""The pages on one's own data: as they stand, with a tiny network, their files become a registered model."""

from __future__ import annotations

import json

import pytest

from stages.recipe import lay_over
from stages.tasks.protocol import Task
from tests.own_data import TASKS, page, write

from .conftest import make_clone

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]


@pytest.mark.parametrize("name", TASKS)
def test_a_page_leads_from_a_file_to_a_registered_model(name, tmp_path):
    shown = page(name)
    (tmp_path / "clone").mkdir()
    clone = make_clone(tmp_path / "clone")
    write(name, shown.example, tmp_path / "data")
    lay_over(shown.params(tmp_path / "data"), clone.folder / "params.yaml", source="page")
    for command in shown.commands[:2]:
        clone.run(*command.split())
    receipt = json.loads((clone.folder / f"receipts/{name}.json").read_text(encoding="utf-8"))
    assert receipt["model"] == Task(name).description().model_name

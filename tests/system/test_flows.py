"""The pipeline as flows on real servers."""

from __future__ import annotations

import pytest

from .house import House

pytestmark = pytest.mark.system
FORECAST = {"tasks": ["forecast"], "where": "here"}


def test_a_flow_runs_the_stages_and_then_finds_them_cached(flows: House) -> None:
    run = flows.start("pipeline/pipeline", choice=FORECAST)
    assert run.wait() == "COMPLETED"
    stages = [f"{verb}@forecast" for verb in ("download", "preprocess", "train", "evaluate", "register")]
    assert run.tasks() == dict.fromkeys(stages, "Completed")
    assert "never ran" in run.artifacts()["plan"]
    again = flows.start("pipeline/pipeline", choice=FORECAST)
    assert again.wait() == "COMPLETED"
    assert again.tasks() == dict.fromkeys(stages, "Cached")
    assert flows.clone.repro("register@forecast") == []

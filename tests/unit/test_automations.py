"""Which runs the automations of `flows.server.deploy` speak of."""

from __future__ import annotations

from pathlib import Path

from flows.server.automations import flows_of

PREFECT_FILE = Path(__file__).resolve().parents[2] / "prefect.yaml"


def test_a_run_that_waits_for_a_person_is_not_taken_for_dead():
    watched = flows_of(PREFECT_FILE, without={"promote"})
    assert {"pipeline", "stage"} <= set(watched)
    assert "promote" not in watched


def test_the_names_are_those_under_which_the_flows_run():
    from flows.execution.remote import stage
    from flows.pipeline import pipeline
    from flows.promote import promote

    assert {pipeline.name, promote.name, stage.name} <= set(flows_of(PREFECT_FILE, without=()))

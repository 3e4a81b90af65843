"""The form of the pipeline, and what becomes of the outcomes of its stages."""

from __future__ import annotations

import pytest
from prefect.states import Cancelled, Completed, Crashed, Failed
from pydantic import ValidationError

from flows.execution.cancellation import stopping
from flows.execution.remote import Order
from flows.execution.stage import Outcome
from flows.execution.states import outcome_of, state_of
from flows.options import PipelineOptions
from flows.pipeline import summary
from stages.tasks.protocol import Task


@pytest.mark.parametrize("kind", ["cached", "restored", "ran", "failed", "late"])
def test_an_outcome_survives_the_way_over_the_server(kind: str) -> None:
    outcome = Outcome(kind=kind, message="why")  # type: ignore[arg-type]
    assert outcome_of(state_of(outcome)) == outcome


def test_a_stage_that_was_cancelled_elsewhere_has_failed_for_the_one_who_ordered_it() -> None:
    assert outcome_of(Cancelled(message="by a person")) == Outcome(kind="failed", message="by a person")


def test_the_form_starts_with_all_tasks_and_names_mistakes() -> None:
    assert PipelineOptions().tasks == list(Task.names())
    assert PipelineOptions(tasks=["video", "sketch"], up_to="train").targets() == ("train@video", "train@sketch")
    # What learns from the data of another has none of its own to fetch.
    assert PipelineOptions(tasks=["drawing", "sketch"], up_to="preprocess").targets() == ("preprocess@sketch",)
    with pytest.raises(ValidationError, match="found 'sketches'; allowed: "):
        PipelineOptions(tasks=["sketches"])
    with pytest.raises(ValidationError, match="at least 1 item"):
        PipelineOptions(tasks=[])


def test_an_order_takes_nothing_that_git_could_read_as_an_option() -> None:
    with pytest.raises(ValidationError, match="pattern"):
        Order(stage="train@sketch", commit="--upload-pack=evil", params="", lock="")


def test_the_summary_names_what_failed() -> None:
    good = summary({"a": Completed(name="Cached"), "b": Completed()})
    assert good.is_completed()
    assert good.message == "2 stages: 1 Cached, 1 Completed"
    bad = summary({"a": Failed(message="disk full"), "b": Crashed(message="killed"), "c": Completed()})
    assert bad.is_failed()
    assert bad.message is not None
    assert "a: disk full" in bad.message
    assert "b: killed" in bad.message


def test_what_is_started_is_told_to_stop_when_the_block_fails() -> None:
    with stopping() as stop:
        assert not stop.is_set()
    assert not stop.is_set()
    with pytest.raises(KeyboardInterrupt), stopping() as stop:
        raise KeyboardInterrupt
    assert stop.is_set()

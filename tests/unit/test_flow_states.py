"""The form of the pipeline, and what becomes of the outcomes of its stages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Completed, Crashed, Failed
from pydantic import BaseModel, ValidationError

from flows.execution import remote
from flows.execution.cancellation import stopping
from flows.execution.locks import StoppedError
from flows.execution.remote import Order
from flows.execution.stage import Outcome, StageError, TimeLimitError
from flows.execution.states import check_completed, state_of, summary
from flows.forecast import ForecastOptions
from flows.options import PipelineOptions
from flows.promote import Candidate
from flows.tune.options import TuneOptions
from stages.registry.decision import OVERRIDES_VARIABLE
from stages.tasks.protocol import Task


@pytest.mark.parametrize(("kind", "name"), [("cached", "Cached"), ("restored", "Restored"), ("ran", "Completed")])
def test_a_stage_that_is_up_to_date_is_completed_under_the_name_of_how(kind: Any, name: str) -> None:
    state = state_of(lambda: Outcome(kind=kind, message="why"))
    assert (state.type, state.name, state.message) == (StateType.COMPLETED, name, "why")
    check_completed(state)


@pytest.mark.parametrize("error", [StageError, TimeLimitError])
def test_a_failure_survives_the_way_over_the_server(error: type[StageError]) -> None:
    with pytest.raises(StageError, match="^why$") as caught:
        check_completed(state_of(failing(error("why"))))
    assert caught.type is error


def test_a_stage_that_was_cancelled_elsewhere_has_failed_for_the_one_who_ordered_it() -> None:
    assert state_of(failing(StoppedError("by a person"))).is_cancelled()
    with pytest.raises(StageError, match="by a person"):
        check_completed(Cancelled(message="by a person"))


def failing(error: Exception) -> Callable[[], Outcome]:
    def work() -> Outcome:
        raise error

    return work


def test_the_form_starts_with_all_tasks_and_names_mistakes() -> None:
    assert PipelineOptions().tasks == list(Task.names())
    assert PipelineOptions(tasks=["video", "sketch"], up_to="train").targets() == ("train@video", "train@sketch")
    # What learns from the data of another has none of its own to fetch.
    assert PipelineOptions(tasks=["drawing", "sketch"], up_to="preprocess").targets() == ("preprocess@sketch",)
    with pytest.raises(ValidationError, match="found 'sketches'; allowed: "):
        PipelineOptions(tasks=["sketches"])
    with pytest.raises(ValidationError, match="at least 1 item"):
        PipelineOptions(tasks=[])


@pytest.mark.parametrize(
    ("form", "found"),
    [
        (PipelineOptions, {"task": ["sketch"]}),
        (TuneOptions, {"task": "sketch", "search": ["sketch.train.epochs=int(1, 4)"], "trial": 3}),
        (ForecastOptions, {"task": "forecast"}),
        (Candidate, {"task": "sketch", "Version": "3"}),
    ],
)
def test_a_form_refuses_an_option_that_it_does_not_have(form: type[BaseModel], found: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        form(**found)
    assert form.model_json_schema()["additionalProperties"] is False  # so that Prefect's server refuses it, too


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


@pytest.mark.parametrize("environment", [{}, {OVERRIDES_VARIABLE: "sketch.train.epochs=3", "OTHER": "here alone"}])
def test_a_worker_hears_of_params_of_one_run_alone(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered: list[dict[str, Any]] = []
    seen: list[dict[str, str]] = []

    def run_deployment(name: str, *, parameters: dict[str, Any], **others: Any) -> Any:
        ordered.append(parameters["order"])
        return SimpleNamespace(name=name)

    class Worker:
        def __init__(self, folder: Path, *, stop: Event, environment: dict[str, str]) -> None:
            seen.append(environment)
            raise StageError("this is enough")

    (tmp_path / "params.yaml").touch()
    monkeypatch.setattr(remote, "run_deployment", run_deployment)
    monkeypatch.setattr(remote, "url_for", lambda run: "")
    monkeypatch.setattr(remote, "commit_of", lambda root: "0" * 40)
    monkeypatch.setattr(remote, "changed_pins", lambda root: {"sources/sketch.json": "{}\n"})
    monkeypatch.setattr(remote, "_wait", lambda run, stop: Completed())
    monkeypatch.setattr(remote, "check_completed", lambda state: None)
    checkout: Any = SimpleNamespace(root=tmp_path, environment=environment, stop=Event())
    remote._order(checkout, "register@sketch", pool="gpu", force=False, on_line=lambda line: None)
    monkeypatch.setattr(remote, "fetch", lambda root, commit: None)
    monkeypatch.setattr(remote, "worktree", lambda root, tree: nullcontext(tmp_path))
    monkeypatch.setattr(remote, "Checkout", Worker)
    with pytest.raises(StageError, match="enough"):
        remote._run_order(Order(**ordered[0]), Event(), lambda line: None)
    assert (tmp_path / "sources" / "sketch.json").read_text() == "{}\n"
    assert seen == [{name: value for name, value in environment.items() if name == OVERRIDES_VARIABLE}]


def test_pins_that_are_too_large_for_an_order_must_be_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "changed_pins", lambda root: {"sources/video.json": "x" * 400_001})
    checkout: Any = SimpleNamespace(root=Path())
    with pytest.raises(StageError, match="sources/video.json: too large .*; commit and push them first"):
        remote._pins(checkout)

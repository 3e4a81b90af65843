"""A trial sees its training's epochs while they come, and ends it when it should."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flows.options import PipelineOptions
from flows.tune import trial
from flows.tune.mlflow_run import TRIAL_TAG
from flows.tune.space import space
from flows.tune.study import Study
from flows.tune.trial import StudyContext, Watch
from stages.tracking import spool


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Four trials are done, with 1.0 in each epoch; the fifth, number 4, is asked for."""
    study = Study(
        tmp_path / "study.jsonl",
        space(["forecast.train.learning_rate=log(1e-4, 1e-1)"]),
        method="random",
        seed=1,
        minimise=True,
        prune=True,
    )
    for _ in range(4):
        suggestion = study.ask(5)
        assert suggestion is not None
        for epoch in range(6):
            study.report(suggestion.number, epoch, 1.0)
        study.tell(suggestion.number, "complete", objective=1.0)
    assert study.ask(5)
    return study


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "resume"))
    monkeypatch.setattr(trial, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(trial, "_POLL", 0.005)
    return tmp_path / "resume" / "mlflow"


def training(folder: Path, name: str) -> spool.Spool:
    """The spool of a training that was ordered by the trial of this name."""
    facts: dict[str, Any] = {"task": "forecast", "signature": f"of-{name}", "attempt": spool.new_attempt()}
    empty: dict[str, Any] = {
        "resumed_step": None,
        "store": "local",
        "time": 0,
        "params": {},
        "data": "",
        "data_path": "",
    }
    return spool.Spool(spool.Start(**facts, **empty, tags={TRIAL_TAG: name}, difference=""), folder)


def append(training: spool.Spool, epoch: int, value: float) -> None:
    values = {"epoch": epoch, "validation_quantile_error": value}
    training.append({"kind": "metrics", "time": 0, "step": epoch, "at": 10 * epoch, "values": values})
    training.append({"kind": "metrics", "time": 0, "step": 10 * epoch, "at": 10 * epoch, "values": {"step_loss": 9.0}})


def watched(study: Study, watch: Watch, stop: threading.Event) -> Any:
    context = StudyContext(
        study="study",
        tree="",
        monitor="quantile_error",
        options=PipelineOptions(tasks=["forecast"]),
        parent="",
    )
    return trial._watched(context, study, 4, watch, stop=stop)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_training_that_is_worse_than_the_median_is_ended_and_no_other(study: Study, folder: Path) -> None:
    other, own = training(folder, "study-003"), training(folder, "study-004")
    watch, stop = Watch(), threading.Event()
    with watched(study, watch, stop):
        for epoch in range(6):
            append(other, epoch, 100.0)
        for epoch in range(3):
            append(own, epoch, 2.0)
        until(lambda: len(study.reported(4)) == 3)
        assert not stop.is_set()
        append(own, 3, 2.0)
        until(stop.is_set)
    assert watch.pruned.is_set()
    assert watch.signature == "of-study-004"
    assert study.reported(4) == {0: 2.0, 1: 2.0, 2: 2.0, 3: 2.0}
    assert study.reported(3) == dict.fromkeys(range(6), 1.0)


def test_a_spool_that_cannot_be_read_or_was_sent_ends_no_watch(study: Study, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "broken-1.jsonl").write_text("{\n", encoding="utf-8")
    watch, stop = Watch(), threading.Event()
    with watched(study, watch, stop):
        own = training(folder, "study-004")
        append(own, 0, 0.5)
        until(lambda: study.reported(4) == {0: 0.5})
        own.path.unlink()
        again = training(folder, "study-004")
        append(again, 1, 0.25)
        until(lambda: study.reported(4) == {0: 0.5, 1: 0.25})
    assert not stop.is_set()

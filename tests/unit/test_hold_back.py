"""What new data alone has made stale, and what a policy then keeps from running."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from flows import hold_back as module
from flows.dag import Pipeline
from flows.hold_back import data_of, held_back, hold_back, tasks_waiting
from flows.record import NightRecord, read_record, write_record
from stages.nightly import Watched
from stages.sources.pins import Content, Pin, PinnedFile, path_of


# The shape of the real one, for one task.
def stage(cmd: str, deps: list[str], outs: list[str], params: Sequence[str] = ()) -> dict[str, Any]:
    return {"foreach": ["forecast"], "do": {"cmd": cmd, "params": list(params), "deps": deps, "outs": outs}}


RAW, PREPARED, WEIGHTS = "data/forecast/raw", "data/forecast/prepared", "weights/forecast"
EVALUATED = ["forecast.source", "forecast.prepare", "forecast.train"]
STAGES = {
    "download": stage(
        f"mkdir -p {RAW} && cp sources/forecast.json {RAW}/days",
        ["sources/forecast.json", "download.py"],
        [RAW],
        ["forecast.source"],
    ),
    "preprocess": stage(
        f"mkdir -p {PREPARED} && sort {RAW}/days > {PREPARED}/days",
        [RAW, "prepare.py"],
        [PREPARED],
        ["forecast.prepare"],
    ),
    "train": stage(
        f"mkdir -p weights && cp -r {PREPARED} {WEIGHTS}", [PREPARED, "train.py"], [WEIGHTS], ["forecast.train"]
    ),
    "evaluate": stage(f"cp {WEIGHTS}/days metrics.json", [PREPARED, WEIGHTS], ["metrics.json"], EVALUATED),
    "register": stage("cp metrics.json receipt.json", [RAW, PREPARED, WEIGHTS, "metrics.json"], ["receipt.json"]),
}
OF_A_MODEL = [f"{verb}@forecast" for verb in ("train", "evaluate", "register")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of which all has run."""
    from dvc.repo import Repo

    folder, before = tmp_path_factory.mktemp("finished"), Path.cwd()
    os.chdir(folder)
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    Path("params.yaml").write_text("forecast: {source: {url: a}, prepare: {gap: 1}, train: {seed: 1}}\n")
    for name in ("download.py", "prepare.py", "train.py"):
        Path(name).write_text("one\n")
    Path("sources").mkdir()
    write_pin(Path(), "monday")
    Repo.init(no_scm=True).close()
    repro()
    os.chdir(before)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy


def write_pin(folder: Path, content: str) -> None:
    digest = hashlib.sha256(content.encode()).hexdigest()
    file = Content(bytes=len(content), sha256=digest, md5=digest[:32])
    pin = Pin(source=None, files={"days": PinnedFile(url="file:///days", content=file)})
    (folder / path_of("forecast")).write_text(pin.text())


def repro(*targets: str) -> list[str]:
    from dvc.repo import Repo

    with Repo(".") as repo:
        return [stage.name for stage in repo.reproduce(targets=list(targets) or None)]


TODAY = date(2026, 12, 1)


def params(retrain: str, pause_days: int = 7) -> Any:
    return {"forecast": SimpleNamespace(monitor=SimpleNamespace(retrain=retrain, pause_days=pause_days))}


def verdicts(retrain: str) -> dict[str, str]:
    pipeline = Pipeline(Path())
    return {
        stage.name: stage.verdict for stage in hold_back(pipeline.plan(), held_back(pipeline, params(retrain), TODAY))
    }


def test_nothing_waits_while_nothing_is_new(folder: Path) -> None:
    assert tasks_waiting(Pipeline(folder)) == ()


def test_a_pin_that_has_moved_makes_the_model_wait_before_and_after_it_is_fetched(folder: Path) -> None:
    write_pin(folder, "monday tuesday")
    assert verdicts("never") == {
        "download@forecast": "run",
        "preprocess@forecast": "wait",
        **dict.fromkeys(OF_A_MODEL, "held"),
    }
    assert verdicts("on_new_data")["train@forecast"] == "wait"
    repro("preprocess@forecast")
    assert tasks_waiting(Pipeline(folder)) == ("forecast",)
    held = dict.fromkeys(("download@forecast", "preprocess@forecast"), "cached") | dict.fromkeys(OF_A_MODEL, "held")
    assert verdicts("on_drift") == held
    assert verdicts("on_new_data")["train@forecast"] == "run"
    assert repro() == OF_A_MODEL  # by hand, no policy counts
    assert tasks_waiting(Pipeline(folder)) == ()


def test_the_plan_says_that_the_policy_holds_it_back_and_why_it_would_run(folder: Path) -> None:
    write_pin(folder, "tuesday")
    repro("preprocess@forecast")
    pipeline = Pipeline(folder)
    train = hold_back(pipeline.plan(["train@forecast"]), held_back(pipeline, params("monthly"), TODAY))[-1]
    assert train.reasons == (
        "monitor.retrain: monthly; the next nightly run decides",
        f"{Path('data/forecast/prepared')}: modified",
    )


def test_a_plan_decides_by_what_the_last_night_saw_of_the_same_data_and_by_todays_params(folder: Path) -> None:
    write_pin(folder, "tuesday")
    repro("preprocess@forecast")
    pipeline = Pipeline(folder)
    record = NightRecord(
        night="2026-12-01 02:00",
        data=data_of(pipeline, "forecast"),
        retrain=False,
        reason="on_new_data: …, but pause_days requires 7 days between two trainings",
        watched=Watched(last_training=date(2026, 11, 28), drift="drift"),
    )
    write_record(folder, "forecast", record)
    held = held_back(pipeline, params("on_new_data"), TODAY)["forecast"]
    assert "pause_days requires 7 days between two trainings; the last was on 2026-11-28, 3 days ago" in held
    assert held_back(pipeline, params("on_new_data", pause_days=3), TODAY) == {}  # params.yaml was edited
    assert held_back(pipeline, params("on_new_data"), date(2026, 12, 5)) == {}
    assert held_back(pipeline, params("on_drift", pause_days=0), TODAY) == {}
    assert held_back(pipeline, params("never"), TODAY)["forecast"].startswith("never: ")
    cut_short = record.model_copy(update={"retrain": True, "done": False})
    write_record(folder, "forecast", cut_short)
    assert held_back(pipeline, params("never"), TODAY) == {}  # the next night goes on with it
    write_record(folder, "forecast", record.model_copy(update={"data": "other"}))
    assert held_back(pipeline, params("on_new_data"), TODAY) == {}
    assert held_back(pipeline, params("on_alarm"), TODAY) == {"forecast": "on_alarm; the next nightly run decides"}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("train.py", "two\n"),
        ("params.yaml", "forecast: {source: {url: a}, prepare: {gap: 1}, train: {seed: 2}}\n"),
        ("params.yaml", "forecast: {source: {url: a}, prepare: {gap: 2}, train: {seed: 1}}\n"),
    ],
)
def test_an_edit_is_never_held_back_also_beside_new_data(folder: Path, file: str, text: str) -> None:
    write_pin(folder, "tuesday")
    (folder / file).write_text(text)
    assert tasks_waiting(Pipeline(folder)) == ()


def test_another_source_is_an_edit_also_once_it_is_prepared(folder: Path) -> None:
    write_pin(folder, "tuesday")
    (folder / "params.yaml").write_text("forecast: {source: {url: b}, prepare: {gap: 1}, train: {seed: 1}}\n")
    assert tasks_waiting(Pipeline(folder)) == ()
    repro("preprocess@forecast")
    assert tasks_waiting(Pipeline(folder)) == ()


def test_code_that_prepares_otherwise_is_an_edit(folder: Path) -> None:
    (folder / "prepare.py").write_text("two\n")
    text = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(text.replace("&& sort", "&& echo more | sort -"))
    repro("preprocess@forecast")
    assert tasks_waiting(Pipeline(folder)) == ()


def test_what_a_training_that_is_done_still_needs_is_not_held_back(folder: Path) -> None:
    write_pin(folder, "tuesday")
    repro("train@forecast")
    assert tasks_waiting(Pipeline(folder)) == ()
    assert verdicts("never")["register@forecast"] != "held"


def test_a_first_training_is_not_held_back(folder: Path) -> None:
    (folder / "dvc.lock").unlink()
    assert tasks_waiting(Pipeline(folder)) == ()


def test_a_clone_without_outputs_knows_as_well(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make check` in CI: nothing has been pulled there."""
    write_pin(folder, "tuesday")
    repro("preprocess@forecast")
    for name in ("data", "weights"):
        shutil.rmtree(folder / name)
    monkeypatch.setattr(module, "load", lambda: None)

    def left(stale: str) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stale))
        module.main()
        return capsys.readouterr().out.strip()

    assert left("\n".join(OF_A_MODEL)) == ""
    assert left("preprocess@forecast train@forecast") == "preprocess@forecast"
    (folder / "train.py").write_text("two\n")
    assert left("\n".join(OF_A_MODEL)) == " ".join(OF_A_MODEL)
    assert left("") == ""


def test_the_recorded_night_survives_a_file_that_means_nothing(folder: Path) -> None:
    (folder / "nights" / "forecast").mkdir(parents=True)
    (folder / "nights" / "forecast" / "night.json").write_text("{")
    assert read_record(folder, "forecast") is None

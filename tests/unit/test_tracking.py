"""What a training tells, as it stands in the spool; nothing is sent here."""

from __future__ import annotations

import re
import subprocess
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from stages.params import load
from stages.provenance.imports import closure
from stages.tasks.protocol import Task
from stages.tracking import spool, store, training_run

SECRET = "hunter2"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{SECRET}@mlflow.example.org?token={SECRET}")
    monkeypatch.setattr(training_run, "_Sender", lambda path: None)
    monkeypatch.setattr(training_run, "content_md5", lambda path: "data.dir")
    return tmp_path / "mlflow"


def training(resumed_step: int | None = None) -> Any:
    params = load()["forecast"]
    return training_run.training_run(
        Task("forecast"), params, "abc", parameters=7, devices="1 rank, CPU", resumed_step=resumed_step
    )


def told(folder: Path) -> list[spool.Event]:
    (path,) = spool.pending(folder)
    return [event for event, _ in spool.read(path)]


def test_a_training_imports_no_mlflow_but_for_weights_out_of_the_registry():
    importing = re.compile(r"^ *from .*mlflow_runs import|import .*mlflow_runs|^ *(import|from) mlflow", re.MULTILINE)
    found = {path.name for path in closure("stages.train") if importing.search(path.read_text(encoding="utf-8"))}
    # `start_weights` late, where pinned weights are fetched; and what it then imports.
    assert found == {"start_weights.py", "mlflow_runs.py", "store.py"}


def test_whoever_orders_a_training_may_tag_its_run(folder, monkeypatch):
    monkeypatch.setenv(training_run.TAGS_VARIABLE, '{"mlflow.parentRunId": "0123"}')
    with training():
        pass
    tags = told(folder)[0]["tags"]
    assert tags["mlflow.parentRunId"] == "0123"
    assert "unroll.git_commit" in tags


def test_steps_keep_their_number_and_their_time(folder):
    with training() as run:
        run.metrics({"step_loss": 0.5, "step_padding_share": 0.25}, step=3)
    events = told(folder)
    assert [event["kind"] for event in events] == ["start", "metrics", "metrics", "end"]
    assert events[1]["values"] == {"parameters": 7.0}
    assert events[2]["values"] == {"step_loss": 0.5, "step_padding_share": 0.25}
    assert (events[2]["step"], events[2]["at"]) == (3, 3)
    assert events[0]["time"] <= events[2]["time"] <= events[3]["time"]


def test_an_epoch_is_told_by_its_number_and_knows_the_step_it_was_reached_at(folder):
    from stages.training.progress import Epoch

    record = Epoch(
        epoch=2,
        train={"loss": 1.0},
        validation={"loss": 2.0},
        learning_rate=0.1,
        gradient_norm=3.0,
        padding_share=0.2,
        steps=5,
        seconds=4.0,
        sequences_per_second=50.0,
        data_wait_share=0.01,
        compiled_graphs=3,
    )
    with training() as run:
        run.metrics({"step_loss": 0.5}, step=29)
        run.epoch(record)
    event = told(folder)[3]
    assert (event["step"], event["at"]) == (2, 29)
    assert event["values"]["memory_megabytes"] > 1
    shown = {name: value for name, value in event["values"].items() if name != "memory_megabytes"}
    assert shown == {
        "train_loss": 1.0,
        "validation_loss": 2.0,
        "learning_rate": 0.1,
        "gradient_norm": 3.0,
        "padding_share": 0.2,
        "epoch_seconds": 4.0,
        "sequences_per_second": 50.0,
        "data_wait_share": 0.01,
        "compiled_graphs": 3,
    }


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_the_end_says_how_it_came(folder, error, status):
    with nullcontext() if error is None else pytest.raises(type(error)), training():
        if error is not None:
            raise error
    assert told(folder)[-1]["status"] == status


def test_the_machine_is_looked_at_now_and_then(folder, monkeypatch):
    monkeypatch.setattr(training_run, "_SYSTEM_SECONDS", 0.0)
    with training() as run:
        run.metrics({"step_loss": 1.0}, step=5)
    event = told(folder)[3]
    assert event["step"] == 5
    assert event["values"]["system/process_memory_megabytes"] > 1
    assert 0 <= event["values"]["system/cpu_utilization_percentage"] <= 100


def test_a_training_that_ran_elsewhere_is_told_from_its_learning_curve(folder):
    rows = [{"epoch": float(epoch), "train_loss": 1.0} for epoch in range(2)]
    training_run.record_finished(Task("forecast"), load()["forecast"], "abc", rows)
    events = told(folder)
    assert [(event["step"], event["values"]) for event in events[1:3]] == [
        (0, {"train_loss": 1.0}),
        (1, {"train_loss": 1.0}),
    ]
    tags = events[0]["tags"]
    assert (tags["mlflow.runName"], tags["unroll.restored"]) == ("forecast-abc (restored)", "true")
    assert tags["mlflow.note.content"].startswith("**Restored**: this run was created from files")
    assert (events[3]["status"], events[3]["seconds"]) == ("FINISHED", None)


def test_threads_may_tell_at_once(folder):
    with training() as run:
        threads = [
            threading.Thread(target=lambda first=first: [run.metrics({"a": 1.0}, n) for n in range(first, first + 200)])
            for first in range(0, 800, 200)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(event["step"] for event in told(folder)[2:-1]) == list(range(800))


def test_a_spool_that_cannot_be_written_does_not_stop_a_training(folder, monkeypatch, capsys):
    folder.write_text("a file where the folder should be")
    with training() as run:
        run.metrics({"step_loss": 1.0}, step=0)
        run.metrics({"step_loss": 1.0}, step=1)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the training continues without recording" in said


def test_no_secret_stands_in_a_spool(folder, monkeypatch):
    params = load()["forecast"]
    source = params.source.model_copy(update={"url": f"https://me:{SECRET}@example.org/data.csv"})
    params = params.model_copy(update={"source": source})
    difference = f"+ url: s3://me:{SECRET}@example.org/\n"
    monkeypatch.setattr(training_run, "_git", lambda verb, *rest: difference if verb == "diff" else "")
    with training_run.training_run(Task("forecast"), params, "abc", parameters=7, devices="1 rank, CPU"):
        pass
    (path,) = spool.pending(folder)
    text = path.read_text()
    assert "https://example.org/data.csv" in text
    assert "s3://example.org/" in text
    assert SECRET not in text
    assert "mlflow.example.org" not in text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me:pa@ss@host:80/x", "https://host:80/x"),
        ("postgresql://me:secret@host/db", "postgresql://host/db"),
        ("sqlite:////folder/a@b.db", "sqlite:////folder/a@b.db"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_an_address_loses_its_user_and_password_and_nothing_else(text, clean):
    assert store.without_credentials(text) == clean


def test_a_new_password_is_no_new_store(monkeypatch):
    names = []
    for password in ("one", "two"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{password}@mlflow.example.org")
        names.append(store.store_name())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://other.example.org")
    assert names[0] == names[1] != store.store_name()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert store.store_name() == "local"


def test_the_recorded_changes_bring_a_clone_to_the_same_code_and_hold_no_other_files(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True)

    stages = tmp_path / "stages"
    stages.mkdir()
    (stages / "old.py").write_bytes(b"one = 1\r\n")
    (tmp_path / "dvc.lock").write_text("a: 1\n")
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "forecast.json").write_text("1\n")
    git("init", "--quiet")
    git("config", "diff.noprefix", "true")
    git("add", "--all")
    git("commit", "--quiet", "--message", "state")
    changed = {"old.py": b"one = 2\r\n", "a new.py": b"two = 2\n"}
    for name, content in changed.items():
        (stages / name).write_bytes(content)
    (tmp_path / ".env").write_text(f"PASSWORD={SECRET}")
    (tmp_path / "dvc.lock").write_text("a: 2\n")
    (tmp_path / "sources" / "forecast.json").write_text("2\n")
    monkeypatch.chdir(tmp_path)
    facts, patch = training_run.lineage(Task("forecast"))
    assert facts["unroll.git_dirty"] == "true"
    assert SECRET not in patch
    assert "dvc.lock" not in patch
    assert "sources" not in patch
    git("stash", "--quiet", "--include-untracked")
    (tmp_path / "patch").write_bytes(patch.encode())
    git("apply", "patch")
    assert {name: (stages / name).read_bytes() for name in changed} == changed


def test_a_pin_that_moved_is_no_dirt_and_stands_in_the_tags(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True)

    (tmp_path / "sources").mkdir()
    pin = tmp_path / "sources" / "forecast.json"
    pin.write_text("1\n")
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "state")
    pin.write_text("2\n")
    (tmp_path / "sources" / "toy.json").write_text("new\n")
    entry = {
        "deps": [{"path": "sources/forecast.json", "md5": "abc"}],
        "outs": [{"path": "data/forecast/raw", "md5": "d"}],
    }
    monkeypatch.setattr(training_run, "locked_stages", lambda: {"download@forecast": entry})
    monkeypatch.chdir(tmp_path)
    facts, patch = training_run.lineage(Task("forecast"))
    assert facts["unroll.git_dirty"] == "false"
    assert not patch
    assert facts["unroll.lock.sources.forecast.json"] == "abc"
    assert facts["unroll.lock.data.forecast.raw"] == "d"


@pytest.mark.parametrize("name", ["plain", "a#b", "a%20b", "a b", "100%", "a=c&d@e:f"])
def test_the_store_lies_in_its_folder_whatever_that_is_called(tmp_path, monkeypatch, name):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / name
    folder.mkdir()
    uri = store.store_uri(folder)
    assert store.database_file(uri) == folder / "mlflow.db"
    assert store.without_credentials(uri) == uri
    for address in (uri, store.sqlite_uri(folder / "other.db")):
        with sqlalchemy.create_engine(address).connect() as connection:
            connection.execute(sqlalchemy.text("create table t (x int)"))
    assert sorted(path.name for path in folder.iterdir()) == ["mlflow.db", "other.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_with_a_question_mark_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\?b/mlflow.db: found a question mark; allowed: a folder without one"):
        store.sqlite_uri(tmp_path / "a?b" / "mlflow.db")


def test_only_sqlite_is_a_file():
    assert store.database_file("http://host:5000") is None
    assert store.database_file("postgresql+psycopg2://u@h/db") is None
    assert store.database_file("sqlite:///mlflow.db?timeout=1") == Path("mlflow.db")


def test_a_folder_that_mlflow_cannot_read_from_is_refused(tmp_path, monkeypatch):
    from stages.tracking import mlflow_runs

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.sqlite_uri(tmp_path / "a%20b" / "mlflow.db"))
    with pytest.raises(ValueError, match="in which MLflow decodes % and two hexadecimal digits; allowed: another name"):
        mlflow_runs.open_client()
    assert not list(tmp_path.iterdir())

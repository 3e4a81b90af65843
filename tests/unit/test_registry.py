"""The registry's command line and what it rests on, without a store."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.store.entities.paged_list import PagedList

from stages.evaluation.card import metrics_table
from stages.params import load
from stages.registry import __main__ as command_line
from stages.registry import lineage, table, versions
from stages.registry.decision import DECISION, OLDER_VERDICT
from stages.registry.garbage import collectable
from stages.registry.packaging import code_digest, serving_options, write_code
from stages.registry.status import SideBySide, Version
from stages.registry.verify import verify_data
from stages.sources.dvc_cache import cache_path
from stages.tasks.protocol import Task


def version(number: int, decision: str | None = "challenger_lost", *, aliases: Any = (), **tags: str) -> Any:
    noted = {**({DECISION: decision} if decision else {}), **{f"unroll.{key}": tags[key] for key in tags}}
    return SimpleNamespace(version=str(number), aliases=list(aliases), tags=noted, name="forecaster")


@pytest.mark.parametrize(
    ("text", "task", "named"),
    [
        ("forecaster", "forecast", None),
        ("forecast", "forecast", None),
        ("sketch-classifier@champion", "sketch", "champion"),
        ("video/12", "video", "12"),
    ],
)
def test_a_model_is_named_as_in_a_uri_or_by_its_task(text, task, named):
    assert lineage.parse(text) == lineage.Target(Task(task), named)


@pytest.mark.parametrize("text", ["", "model", "models:/forecaster@champion", "forecast@", "forecast/"])
def test_what_is_no_model_is_answered_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="allowed"):
        lineage.parse(text)


def test_data_are_found_by_the_beginning_of_their_md5():
    found = version(
        1, **{"lock.data.forecast.raw": "abcdef0123.dir", "lock.metrics.preprocess.forecast.json": "fedcba9"}
    )
    assert lineage.data_hashes(found) == {"data/forecast/raw": "abcdef0123.dir"}
    assert lineage.stands_on(found, "abcdef0123")
    assert lineage.stands_on(found, "abcdef0123.dir")
    assert not lineage.stands_on(found, "fedcba9")
    with pytest.raises(ValueError, match="too short"):
        lineage.stands_on(found, "abcde")


def test_only_old_versions_that_nothing_needs_can_go():
    found = [
        version(9),
        version(8, aliases=["champion"], previous_champion="5"),
        version(7, None),  # a crash before its verdict
        version(6, "challenger_waiting"),
        version(5, "superseded"),
        version(4, "rolled_back"),
        version(3, aliases=["canary"]),
        version(2, "champion", previous_champion="1"),  # not any more
        version(1, "superseded"),
        version(0, "unanswered"),
        version(0, "challenger_few_examples"),
    ]
    assert [gone.version for gone in collectable(found, 1)] == ["4", "2", "1"]
    assert [gone.version for gone in collectable(found, 6)] == ["2", "1"]
    assert collectable(found, 9) == []


def test_of_older_versions_those_that_wait_for_a_person_stay():
    texts = {
        2: "challenger: waits for approval (mae 2 against 3)",
        1: "challenger: does not beat its baselines (mae 4)",
    }
    found = [version(number, None, verdict=text) for number, text in texts.items()]
    assert [gone.version for gone in collectable(found, 0)] == ["1"]


class Store:
    """Versions of one content, as two machines have made them."""

    def __init__(self, *numbers: int) -> None:
        self.versions = {
            number: SimpleNamespace(version=str(number), name="m", tags=dict[str, str](), aliases=[])
            for number in numbers
        }

    def search_model_versions(self, condition: str, max_results: int, page_token: str | None) -> Any:
        assert "'abc'" in condition
        return PagedList(list(self.versions.values()), token=None)

    def get_model_version(self, name: str, version: str) -> Any:
        return self.versions[int(version)]


def test_of_two_versions_of_one_content_the_first_stays(monkeypatch):
    store: Any = Store(12, 9)
    monkeypatch.setattr(versions, "remove", lambda store, version: store.versions.pop(int(version.version)))
    assert versions.remove_duplicates(store, "m", "abc").version == "9"
    assert list(store.versions) == [9]
    assert versions.remove_duplicates(store, "m", "abc").version == "9"


def test_a_version_that_was_judged_is_no_leftover(monkeypatch):
    store: Any = Store(9, 12, 13)
    store.versions[12].tags[OLDER_VERDICT] = "champion: as an older Unroll has left it"
    store.versions[13].tags[DECISION] = "unanswered"
    monkeypatch.setattr(versions, "remove", lambda store, version: store.versions.pop(int(version.version)))
    assert versions.remove_duplicates(store, "m", "abc").version == "9"
    assert list(store.versions) == [9, 12]


def test_a_version_that_its_maker_has_removed_meanwhile_is_no_error(monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    def gone(store: Any, version: Any) -> None:
        raise MlflowException("gone", error_code=RESOURCE_DOES_NOT_EXIST)

    monkeypatch.setattr(versions, "remove", gone)
    store: Any = Store(1, 2)
    assert versions.remove_duplicates(store, "m", "abc").version == "1"


def test_files_that_another_process_removes_at_the_same_time_are_all_gone_after_it(monkeypatch, tmp_path):
    files, gone = tmp_path / "artifacts", []
    (files / "serve").mkdir(parents=True)
    (files / "MLmodel").write_text("model")
    client: Any = SimpleNamespace(
        get_logged_model=lambda model_id: SimpleNamespace(artifact_location=files.as_uri()),
        delete_logged_model=gone.append,
        delete_model_version=lambda name, number: gone.append((name, number)),
    )
    rmdir = os.rmdir

    def late(path: Any, *, dir_fd: int | None = None) -> None:
        if path == "serve":
            rmdir(files / "serve")  # the other process is a moment faster
            monkeypatch.setattr(os, "rmdir", rmdir)
        rmdir(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", late)
    one: Any = SimpleNamespace(name="m", version="2", source="models:/m-1")
    versions.remove(client, one)
    assert not files.exists()
    assert gone == ["m-1", ("m", "2")]


def put(cache: Path, content: bytes, suffix: str = "") -> str:
    md5 = hashlib.md5(content).hexdigest() + suffix
    cache_path(cache, md5).parent.mkdir(parents=True, exist_ok=True)
    cache_path(cache, md5).write_bytes(content)
    return md5


def test_data_in_the_cache_are_what_their_names_say_or_named(tmp_path):
    file = put(tmp_path, b"1,2\n")
    folder = put(tmp_path, json.dumps([{"md5": file, "relpath": "a.csv"}]).encode(), ".dir")
    assert verify_data("data/x/raw", folder, tmp_path).state == "ok"
    cache_path(tmp_path, file).write_bytes(b"1,3\n")
    found = verify_data("data/x/raw", folder, tmp_path)
    assert (found.state, "a.csv" in found.detail) == ("differs", True)
    cache_path(tmp_path, file).unlink()
    assert verify_data("data/x/raw", folder, tmp_path).state == "missing"
    assert verify_data("data/x/raw", "0123456789", tmp_path).state == "missing"


def test_a_packaged_model_is_known_by_its_code_and_not_by_what_python_leaves_there(tmp_path):
    package, script = write_code(Task("forecast"), tmp_path)
    assert (package / "serving" / "pyfunc.py").is_file()
    assert f"from {package.name}.serving.pyfunc import ServedModel" in script.read_text()
    before = code_digest(package, script)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "serving.cpython-311.pyc").write_bytes(b"x")
    assert code_digest(package, script) == before
    (package / "serving.py").write_text("")
    assert code_digest(package, script) != before


@pytest.mark.parametrize(
    "facts", [{"duel": {"questions": 51}, "verdict": "champion: …"}, {"comparison": {"examples": 51}}]
)
def test_what_the_gate_found_is_shown_also_where_older_code_has_written_it(facts):
    sides = [{"version": version, "value": 2.0, "low": 1.5, "high": 2.5} for version in "43"]
    (compared,) = (value for value in facts.values() if isinstance(value, dict))
    compared |= {"candidate": sides[0], "champion": sides[1], "fault": "", "chance": 0.975}
    assert lineage.comparison_lines(facts) == [
        "version 4 reached 2  (1.5 to 2.5)",
        "version 3 reached 2  (1.5 to 2.5)",
        "on 51 test examples: better with a chance of 97.5%",
    ]
    compared["more_learned"] = {"unit": "days", "gained": 31, "lost": 0}
    assert lineage.comparison_lines(facts)[-1].endswith("97.5%; has learned 31 days more")
    assert lineage.comparison_lines(dict.fromkeys(facts)) == []


def test_the_list_says_whose_number_stands_beside_a_refit_network(monkeypatch, capsys):
    one = version(3)
    one.tags |= {"unroll.metric.mae": "2.5651", "unroll.reason": "mae 2.565 against 3.2 of the autoets baseline"}
    one.creation_timestamp = 0
    monkeypatch.setattr(table, "list_versions", lambda *_: [(Task("forecast"), one)])
    monkeypatch.setattr(table, "answering_network", lambda *_: "refit")
    assert table.show_versions(None, None, None)
    head, row = (
        line.replace("┃", "│").split("│") for line in capsys.readouterr().out.splitlines() if "│" in line or "┃" in line
    )
    beside = {name.strip(): cell.strip() for name, cell in zip(head, row, strict=True)}
    assert (beside["answers"], beside["metric"], beside["test (measured)"]) == ("refit", "mae", "2.5651")


RECEIPT = {"model": "m", "weights": "1.dir", "code": "2", "options": "{}", "metrics": "3", "training": "4"}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"metrics": "9"}, True),
        ({"weights": "9"}, False),
        ({"code": "9"}, False),
        ({"options": "{'beam_size': 5}"}, False),
    ],
)
def test_content_is_what_decides_answers_and_no_number_that_was_measured(changed, same):
    assert (versions.content_hash({**RECEIPT, **changed}) == versions.content_hash(RECEIPT)) == same


def test_a_receipt_of_older_code_counts_as_a_whole():
    older = {key: value for key, value in RECEIPT.items() if key != "options"}
    assert versions.content_hash(older) == hashlib.sha256(json.dumps(older, sort_keys=True).encode()).hexdigest()
    assert versions.content_hash({**older, "metrics": "9"}) != versions.content_hash(older)


def test_what_predict_does_by_default_is_what_was_measured():
    params = load()["translation"]
    found = serving_options(Task("translation"), params)
    assert found["beam_size"] == params.evaluate.beam_size
    assert found.keys() == Task("translation").predictor().options.keys()


def test_help_is_there_at_once():
    command = [sys.executable, "-m", "stages.registry", "gc", "--help"]
    spent = []
    for _ in range(3):
        started = time.perf_counter()
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent.append(time.perf_counter() - started)
    assert "--keep N" in printed
    assert min(spent) < 0.5


def test_a_description_holds_the_main_table_of_the_card_as_far_as_there_is_room():
    metrics = {"mae": 2.0, "mae_low": 1.5, "mae_high": 2.5, "baseline_naive_mae": 3.0, "signature": "data:a"}
    table = versions.main_table(metrics, "mae")
    assert table == metrics_table(metrics, "mae")
    head, _, row = table.splitlines()
    assert head == "| metric | this model | naive | meaning |"
    assert row.startswith("| `mae` | 2.0000 [1.5000, 2.5000] | 3.0000 |")
    long = versions.main_table(metrics | {f"metric_{number}_{'x' * 90}": 1.0 for number in range(100)}, "mae")
    assert 3000 < len(long) <= 3500
    assert long.startswith(table)


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ("data:abc.dir|split:test|n:51", ""),
        ("data:other.dir|split:test|n:51", "were measured on different test data"),
        ("data:abc.dir|split:test|n:52", "were measured on different test data"),
        ("", "It is not known whether the two were measured on the same test data"),
        (None, ""),
    ],
)
def test_a_comparison_says_when_the_test_data_differ_and_how_to_decide(capsys, theirs, told):
    def measured(number: str, signature: str) -> Version:
        facts: dict[str, Any] = {"decision": None, "reason": "", "run_id": "0", "experiment_id": "7", "metric": "mae"}
        return Version(version=number, signature=signature, metrics={"mae": 2.0}, **facts)

    candidate = measured("4", "data:abc.dir|split:test|n:51")
    champion = None if theirs is None else measured("3", theirs)
    sides = SideBySide(model="forecaster", candidate=candidate, champion=champion, commit="0", dirty=False)
    table.show_comparison(Task("forecast"), sides)
    *above, approve, reject = capsys.readouterr().out.splitlines()
    warnings = [line for line in above if "test data" in line and "│" not in line]  # the table has a row of that name
    assert len(warnings) == bool(told)
    assert all(told in line for line in warnings)
    assert approve.endswith(f"approve forecast --version 4 --champion {'none' if theirs is None else 3} --reason TEXT")
    assert reject.endswith("reject forecast --version 4 --reason TEXT")


@pytest.mark.parametrize("uri", ["", "elsewhere.db"])
def test_a_question_makes_no_registry_and_says_that_there_is_none(tmp_path, monkeypatch, capsys, uri):
    file = tmp_path / (uri or "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}" if uri else "")
    none = (
        f"no model is registered yet: {file} does not exist; run `make repro`, or set MLFLOW_TRACKING_URI to another "
        "store"
    )
    for arguments in (["list"], ["list", "forecast"], ["links"], ["gc"], ["gc", "--cache", "--yes"], ["verify"]):
        monkeypatch.setattr(sys, "argv", ["registry", *arguments])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert ended.value.code == 0
        assert capsys.readouterr().out.splitlines() == [none, *(["this checkout"] if arguments == ["verify"] else [])]
    for verb in ("show", "prove", "rollback"):
        monkeypatch.setattr(sys, "argv", ["registry", verb, "forecaster"])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert ended.value.code == f"unroll: registry: {none}"
    assert list(tmp_path.iterdir()) == []

"""The registry's command line and what it rests on, without a store."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.registry import lineage, versions
from stages.registry.aliases import VERDICT
from stages.registry.garbage import collectable
from stages.registry.packaging import code_digest, write_code
from stages.registry.verify import cached, verify_data
from stages.tasks.protocol import Task


def version(number: int, verdict: str | None = "challenger: does not beat", *, aliases: Any = (), **tags: str) -> Any:
    noted = {**({"unroll.verdict": verdict} if verdict else {}), **{f"unroll.{key}": tags[key] for key in tags}}
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
        version(6, "challenger: waits for approval (mae 2 against 3)"),
        version(5, "champion: mae 2 against 3"),
        version(4, "rejected by Ada"),
        version(3, aliases=["canary"]),
        version(2, "champion: mae 2.5 against 3", previous_champion="1"),
        version(1, "champion: mae 2.9 against 3"),
    ]
    assert [gone.version for gone in collectable(found, 1)] == ["4", "2", "1"]
    assert [gone.version for gone in collectable(found, 6)] == ["2", "1"]
    assert collectable(found, 9) == []


class Store:
    """Versions of one content, as two machines have made them."""

    def __init__(self, *numbers: int) -> None:
        self.versions = {
            number: SimpleNamespace(version=str(number), name="m", tags=dict[str, str]()) for number in numbers
        }

    def search_model_versions(self, condition: str) -> list[Any]:
        assert "'abc'" in condition
        return list(self.versions.values())


def test_of_two_versions_of_one_content_the_first_stays(monkeypatch):
    store: Any = Store(12, 9)
    monkeypatch.setattr(versions, "remove", lambda store, version: store.versions.pop(int(version.version)))
    assert versions.settle(store, "m", "abc").version == "9"
    assert list(store.versions) == [9]
    assert versions.settle(store, "m", "abc").version == "9"


def test_a_version_that_was_judged_is_no_leftover(monkeypatch):
    store: Any = Store(9, 12, 13)
    store.versions[12].tags[VERDICT] = "champion: as an older Unroll has left it"
    monkeypatch.setattr(versions, "remove", lambda store, version: store.versions.pop(int(version.version)))
    assert versions.settle(store, "m", "abc").version == "9"
    assert list(store.versions) == [9, 12]


def test_a_version_that_its_maker_has_removed_meanwhile_is_no_error(monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    def gone(store: Any, version: Any) -> None:
        raise MlflowException("gone", error_code=RESOURCE_DOES_NOT_EXIST)

    monkeypatch.setattr(versions, "remove", gone)
    store: Any = Store(1, 2)
    assert versions.settle(store, "m", "abc").version == "1"


def put(cache: Path, content: bytes, suffix: str = "") -> str:
    md5 = hashlib.md5(content).hexdigest() + suffix
    cached(cache, md5).parent.mkdir(parents=True, exist_ok=True)
    cached(cache, md5).write_bytes(content)
    return md5


def test_data_in_the_cache_are_what_their_names_say_or_named(tmp_path):
    file = put(tmp_path, b"1,2\n")
    folder = put(tmp_path, json.dumps([{"md5": file, "relpath": "a.csv"}]).encode(), ".dir")
    assert verify_data("data/x/raw", folder, tmp_path).state == "ok"
    cached(tmp_path, file).write_bytes(b"1,3\n")
    found = verify_data("data/x/raw", folder, tmp_path)
    assert (found.state, "a.csv" in found.words) == ("differs", True)
    cached(tmp_path, file).unlink()
    assert verify_data("data/x/raw", folder, tmp_path).state == "missing"
    assert verify_data("data/x/raw", "0123456789", tmp_path).state == "missing"


def test_a_packaged_model_is_known_by_its_code_and_not_by_what_python_leaves_there(tmp_path):
    package, script = write_code(Task("forecast"), tmp_path)
    before = code_digest(package, script)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "serving.cpython-311.pyc").write_bytes(b"x")
    assert code_digest(package, script) == before
    (package / "serving.py").write_text("")
    assert code_digest(package, script) != before


def test_help_is_there_at_once():
    command = [sys.executable, "-m", "stages.registry", "gc", "--help"]
    spent = []
    for _ in range(3):
        started = time.perf_counter()
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent.append(time.perf_counter() - started)
    assert "--keep N" in printed
    assert min(spent) < 0.5

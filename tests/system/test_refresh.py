"""Refresh of a bucket, and of a thousand files."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from stages.params import load
from stages.refresh import refresh_task
from stages.sources import pins
from stages.sources.pinned import host_of
from stages.tasks.protocol import Task
from tests.unit.http_server import serving
from tests.unit.test_refresh import one_file_more

from .conftest import CREDENTIALS

pytestmark = [pytest.mark.system, pytest.mark.slow]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins.write(tmp_path / "checkout" / pins.path_of("video"), pins.NOTHING)
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_one_file_more_in_a_source_of_a_thousand_moves_one_file(tmp_path: Path) -> None:
    with serving() as host:
        one_file_more(host, tmp_path, count=1000)


def test_the_listing_of_a_bucket_says_what_is_new(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": s3})
    owner = fsspec.filesystem("s3", skip_instance_cache=True)  # what it writes, the reader's listings do not know of
    owner.mkdir("clips")
    for name in ("run/a.avi", "run/b.avi", "sit/c.avi"):
        owner.pipe(f"clips/set/{name}", name.encode())
    params = load(REPOSITORY / "params.yaml")["video"]
    source = params.source.model_copy(update={"kind": "folder", "url": "s3://clips/set"})
    params, task = params.model_copy(update={"source": source}), Task("video")
    assert refresh_task(task, params).files == 3
    file = pins.read(pins.path_of("video")).files["clips/run/a.avi"]
    assert (file.url, file.etag) == ("s3://clips/set/run/a.avi", f'"{file.content.md5}"')
    assert refresh_task(task, params).state == "unchanged"
    owner.pipe("clips/set/sit/d.avi", b"new")
    assert refresh_task(task, params).summary == "1 file more"
    owner.pipe("clips/set/run/a.avi", b"another")
    assert "clips/run/a.avi: changed from 9 to 7 bytes" in refresh_task(task, params).summary
    task.source().download(source, tmp_path / "raw", host_of("video", source))
    assert (tmp_path / "raw/clips/run/a.avi").read_bytes() == b"run/a.avi"
    assert (tmp_path / "raw/clips/sit/d.avi").read_bytes() == b"new"

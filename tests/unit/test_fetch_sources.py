"""Many files at once, other file systems than the web, other processes, and addresses that hold secrets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from stages.fetch import DownloadError, Limits, check_protocol, file_name, from_environment, join_url
from stages.fetch.remote import redacted
from stages.fetch.tree import files_below
from tests.unit.downloads import CONTENT, LINES, Folder, first_lines
from tests.unit.http_server import Fault, Host


def test_no_host_is_asked_by_more_than_the_workers_at_once(host: Host, folder: Folder) -> None:
    for number in range(12):
        host.put(f"/{number}", CONTENT, delay=0.05)
    folder.fetch(*(folder.request(f"{host.url}/{n}", str(n)) for n in range(12)), workers=3)
    assert host.at_once == 3
    assert [entry["file"] for entry in folder.record()] == sorted(str(n) for n in range(12))


def test_records_of_several_calls_are_joined(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT)
    folder.fetch(folder.request(f"{host.url}/f", "b"))
    folder.fetch(folder.request(f"{host.url}/f", "a"))
    assert [entry["file"] for entry in folder.record()] == ["a", "b"]


@pytest.mark.parametrize("kind", ["file", "FILE", "path"])
def test_other_file_systems_are_read_by_the_same_rules(folder: Folder, tmp_path: Path, kind: str) -> None:
    base = str(tmp_path) if kind == "path" else f"{kind}://{tmp_path}"
    url = join_url(base, "alarm clock #1.txt")
    (tmp_path / "alarm clock #1.txt").write_bytes(LINES)
    folder.fetch(folder.request(url), folder.request(url, "first", lines=2))
    assert folder.read() == LINES
    assert folder.read("first") == first_lines(2)
    assert [(entry["complete"], entry["url"], entry["etag"]) for entry in folder.record()] == [
        (True, url.replace("FILE:", "file:"), None),
        (False, url.replace("FILE:", "file:"), None),
    ]
    with pytest.raises(DownloadError, match="none.txt: no such file"):
        folder.fetch(folder.request(join_url(base, "none.txt")))
    with pytest.raises(DownloadError, match="expected 3 bytes as the request says, found"):
        folder.fetch(folder.request(url, "size", size=3))


def test_a_part_of_a_local_file_is_continued_only_while_that_is_unchanged(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.fetch.remote._PIECE", 100_000)
    source = tmp_path / "source"
    read: list[tuple[int, int]] = []
    faults: list[OSError] = []

    whole = LocalFileSystem.cat_file

    def cat_file(system: LocalFileSystem, path: str, start: int, end: int) -> bytes:
        if faults and start:
            raise faults.pop()
        read.append((start, end))
        return bytes(whole(system, path, start, end))

    monkeypatch.setattr(LocalFileSystem, "cat_file", cat_file)
    url = f"file://{source}"
    for change, expected in ((False, [100_000, 200_000]), (True, [0, 100_000, 200_000])):
        source.write_bytes(CONTENT)
        faults.extend([OSError("input/output error")] * 2)
        with pytest.raises(DownloadError, match="input/output error.*; the next start resumes from the 100,000 bytes"):
            folder.fetch(folder.request(url), limits=Limits(attempts=1))
        faults.clear()
        read.clear()
        if change:
            source.write_bytes(CONTENT[::-1])
        folder.fetch(folder.request(url))
        assert folder.read() == source.read_bytes()
        assert [start for start, _ in read] == expected


@pytest.mark.parametrize(
    "url",
    [
        "nothing://x",
        "memory://bucket/a",
        "ftp://host/a",
        "git://path:repo@main/a",
        "reference://a::http://127.0.0.1/refs.json",
        "simplecache::https://host/a",
        "zip://a::file:///b.zip",
        "https://host/a.zip::/b",
        "zip::a",
    ],
)
def test_other_protocols_and_chains_of_them_are_refused(folder: Folder, url: str) -> None:
    """fsspec would open a reference file system, whose templates read the environment."""
    with pytest.raises(DownloadError, match="not a supported address; allowed: a path, or an address that"):
        folder.fetch(folder.request(url))
    with pytest.raises(DownloadError, match="not a supported address"):
        files_below(url, [], max_files=9)


@pytest.mark.parametrize("url", ["https://[2001:db8::1]/a", "HTTP://host/a", "s3://b/a", "gs://b/a", "a b.txt"])
def test_addresses_that_are_read(url: str) -> None:
    assert check_protocol(url) == url.replace("HTTP", "http")


def test_a_folder_of_clips_is_listed_whatever_the_case_of_its_protocol(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.mp4").touch()
    assert [*files_below(f"FILE://{tmp_path}", [], max_files=9).files] == ["left/a.mp4"]


def test_two_processes_do_not_write_one_partial(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=100_000, stall=True)])
    slow = threading.Thread(
        target=lambda: folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(idle=1.0, backoff=0.001))
    )
    slow.start()
    while not host.sent:
        time.sleep(0.01)
    with pytest.raises(DownloadError, match="another process is fetching it"):
        folder.fetch(folder.request(f"{host.url}/f"))
    slow.join()
    assert folder.read() == CONTENT


def test_ctrl_c_ends_at_once_and_leaves_the_part_but_no_file(host: Host, folder: Folder) -> None:
    host.put("/done", CONTENT)
    host.put("/slow", CONTENT, faults=[Fault(after=100_000, stall=True)])
    code = f"""
from pathlib import Path
from stages.fetch import *
requests = [Request(url="{host.url}/" + n, target=Path("{folder.raw}") / n) for n in ("done", "slow")]
fetch_all(requests, Path("{folder.raw}/downloads.json"), partials=Path("{folder.partials}"))
"""
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.PIPE, start_new_session=True)
    while host.sent < 400_000:
        time.sleep(0.01)
    time.sleep(0.1)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - started < 15
    assert b"KeyboardInterrupt" in errors
    assert not folder.raw.exists()
    before = host.sent
    folder.fetch(*(folder.request(f"{host.url}/{name}", name) for name in ("done", "slow")))
    assert folder.read("slow") == folder.read("done") == CONTENT
    assert host.sent - before <= 300_001  # of the finished one, a byte to see that it is unchanged


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:p@ss@h:80/a?token=1#x", "https://h:80/a"),
        ("s3://key:secret@bucket/a?versionId=1", "s3://bucket/a"),
        ("zip://*.csv::https://u:p@h/a.zip?t=1", "zip://*.csv::https://h/a.zip"),
        ("file:///a/b?c#d", "file:///a/b?c#d"),
        ("/a/b#c", "/a/b#c"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_secrets_in_urls_are_not_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    ("base", "parts", "url"),
    [
        ("https://h/x/", ("full/raw", "alarm clock.ndjson"), "https://h/x/full/raw/alarm%20clock.ndjson"),
        ("https://h", ("été?.txt",), "https://h/%C3%A9t%C3%A9%3F.txt"),
        ("gs://bucket/x", ("alarm clock.ndjson",), "gs://bucket/x/alarm clock.ndjson"),
        ("file:///data", ("alarm clock.ndjson",), "file:///data/alarm clock.ndjson"),
    ],
)
def test_names_are_encoded_where_the_host_decodes_them(base: str, parts: tuple[str, ...], url: str) -> None:
    assert join_url(base, *parts) == url


def test_nonsense_is_refused_before_anything_is_asked(host: Host, folder: Folder) -> None:
    with pytest.raises(ValueError, match="is the target of two requests"):
        folder.fetch(folder.request(f"{host.url}/a"), folder.request(f"{host.url}/b"))
    with pytest.raises(ValueError, match="found lines=0; allowed: 1 or more"):
        folder.fetch(folder.request(f"{host.url}/a", lines=0))
    with pytest.raises(ValueError, match="found workers=0"):
        folder.fetch(workers=0)
    assert host.requests == []


def test_a_password_comes_from_the_environment_and_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_PASSWORD", "hunter2")
    assert from_environment("https://me:${DATA_PASSWORD}@host/a?x=$1") == "https://me:hunter2@host/a?x=$1"
    with pytest.raises(DownloadError) as caught:
        from_environment("https://me:${DATA_PASSWORD}@host/a?${NO_SUCH}")
    assert str(caught.value) == "https://host/a: the environment variable NO_SUCH, which the address uses, is not set"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/my%20pairs.tsv?token=1#x", "my pairs.tsv"),
        ("file:///data/a?b/my pairs.tsv", "my pairs.tsv"),
        ("s3://bucket/x.tsv?versionId=3", "x.tsv"),
        ("/data/x.tsv", "x.tsv"),
        ("https://host/M%C3%BCller.tsv", "Müller.tsv"),
        ("https://host/M%FCller.tsv", "M%FCller.tsv"),  # no UTF-8: neither a replacement nor another's name
    ],
)
def test_the_name_in_an_address(url: str, name: str) -> None:
    assert file_name(url) == name


@pytest.mark.parametrize(
    "name", ["..%2Fx.tsv", "..%2f..%2Fx.tsv", "%2Fetc%2Fx.tsv", "..%5Cx.tsv", "%2e%2e", "..", "a%00.tsv", ".x.tsv"]
)
@pytest.mark.parametrize("base", ["https://host/a/", "file:///a/", "s3://bucket/", "/a/"])
def test_a_name_that_leads_elsewhere_is_refused_in_one_line(base: str, name: str) -> None:
    with pytest.raises(ValueError, match="as the file's name; allowed: a name without / and ") as error:
        file_name(base + name)
    assert "\n" not in str(error.value)


def test_nothing_is_written_outside_the_raw_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    folder = Folder(tmp_path)
    folder.raw.mkdir()
    (folder.raw / "link").symlink_to(tmp_path)
    for name in ("../outside", "link/outside", "a/../../outside"):
        with pytest.raises(ValueError, match="would be written to .*outside, outside"):
            folder.fetch(folder.request(f"file://{tmp_path}/x", name))
    assert not (tmp_path / "outside").exists()

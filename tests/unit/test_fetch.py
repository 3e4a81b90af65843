"""What a download survives, and what it refuses."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from stages.fetch import DownloadError, Limits, Request, fetch_all, from_environment, join_url
from stages.fetch.remote import redacted
from tests.unit.http_server import Fault, Host, google_hash, serving

CONTENT = random.Random(1).randbytes(300_000)
LINES = b"".join(b"%05d %s\n" % (i, b"x" * (20 + i % 50)) for i in range(5000))  # 5,000 lines of 27 to 76 bytes
QUICK = Limits(idle=5, attempts=4, backoff=0.001)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as host:
        yield host


class Folder:
    """A raw folder, as a download stage has it, and partials outside it."""

    def __init__(self, path: Path) -> None:
        self.raw, self.partials = path / "raw", path / "partials"

    def fetch(self, *requests: Request, limits: Limits = QUICK, workers: int = 4) -> None:
        fetch_all(requests, self.raw / "downloads.json", workers=workers, partials=self.partials, limits=limits)

    def request(self, url: str, name: str = "file.bin", **settings: Any) -> Request:
        return Request(url=url, target=self.raw / name, **settings)

    def record(self) -> list[dict[str, Any]]:
        value: list[dict[str, Any]] = json.loads((self.raw / "downloads.json").read_text())
        return value

    def kept(self) -> int:
        """Bytes in partials."""
        return sum(path.stat().st_size for path in self.partials.glob("*.partial"))

    def left(self) -> list[str]:
        """All files there are."""
        return sorted(path.name for path in self.raw.parent.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def ranges(host: Host) -> list[str | None]:
    return [asked.range for asked in host.asked]


def test_a_file_arrives_whole_with_a_record_that_is_the_same_on_every_machine(host: Host, folder: Folder) -> None:
    host.put(
        "/b/alarm clock.ndjson", CONTENT, headers={"x-goog-generation": "1492", "x-goog-hash": google_hash(CONTENT)}
    )
    host.put("/a", b"", etag=None)
    url = join_url(host.url, "b", "alarm clock.ndjson")
    assert url == f"{host.url}/b/alarm%20clock.ndjson"
    secret = url.replace("http://", "http://user:secret@") + "?token=secret"
    folder.fetch(folder.request(secret, "z/clock.ndjson"), folder.request(f"{host.url}/a", "empty"))
    assert (folder.raw / "z/clock.ndjson").read_bytes() == CONTENT
    assert (folder.raw / "empty").read_bytes() == b""
    assert folder.record() == [
        {
            "url": f"{host.url}/a",
            "file": "empty",
            "bytes": 0,
            "md5": "d41d8cd98f00b204e9800998ecf8427e",
            "etag": None,
            "generation": None,
            "complete": True,
        },
        {
            "url": url,
            "file": "z/clock.ndjson",
            "bytes": 300_000,
            "md5": hashlib.md5(CONTENT).hexdigest(),
            "etag": '"first"',
            "generation": "1492",
            "complete": True,
        },
    ]
    assert folder.left() == ["clock.ndjson", "downloads.json", "empty"]
    assert {asked.accept_encoding for asked in host.asked} == {"identity"}


def test_a_broken_connection_is_taken_up_where_it_broke(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=100_000), Fault(after=50_000)])
    folder.fetch(folder.request(f"{host.url}/f", md5=hashlib.md5(CONTENT).hexdigest(), size=300_000))
    assert (folder.raw / "file.bin").read_bytes() == CONTENT
    assert ranges(host) == [None, "bytes=100000-", "bytes=150000-"]
    assert host.asked[1].if_range == '"first"'
    assert host.sent == len(CONTENT)


def test_any_number_of_breaks_is_survived_while_each_attempt_brings_something(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=20_000)] * 14)
    folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(attempts=2, backoff=0.001))
    assert (folder.raw / "file.bin").read_bytes() == CONTENT


def test_the_next_start_goes_on_after_dvc_has_emptied_the_folder(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=100_000)] + [Fault(status=503)] * 4)
    with pytest.raises(DownloadError, match="HTTP 503.*; the 100,000 bytes that came are kept for the next start"):
        folder.fetch(folder.request(f"{host.url}/f"))
    assert not folder.raw.exists()
    folder.fetch(folder.request(f"{host.url}/f"))
    assert ranges(host)[-1] == "bytes=100000-"
    assert (folder.raw / "file.bin").read_bytes() == CONTENT
    assert folder.kept() == 0


def test_a_changed_remote_file_begins_anew_also_where_the_host_ignores_if_range(host: Host, folder: Folder) -> None:
    for guarded in (True, False):
        new = CONTENT[::-1]
        change = Fault(content=new, etag='"second"')
        host.put("/f", CONTENT, guarded=guarded, faults=[Fault(after=100_000), change])
        folder.fetch(folder.request(f"{host.url}/f", f"{guarded}"))
        assert (folder.raw / f"{guarded}").read_bytes() == new
    assert {entry["etag"] for entry in folder.record()} == {'"second"'}


def test_a_host_that_never_stays_with_one_version_is_given_up(host: Host, folder: Folder) -> None:
    faults = [Fault(after=20_000 * n, etag=f'"{n}"') for n in range(1, 12)]
    host.put("/f", CONTENT, faults=faults)
    with pytest.raises(DownloadError, match="the connection broke"):
        folder.fetch(folder.request(f"{host.url}/f"))
    assert len(host.asked) == 5  # the first, and four that began anew


def test_a_part_is_not_continued_where_nothing_tells_versions_apart(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, etag=None, faults=[Fault(after=100_000)])
    host.put("/weak", CONTENT, etag='W/"1"', faults=[Fault(after=100_000)])
    date = {"Last-Modified": "Tue, 01 Jan 2019 00:00:00 GMT"}
    host.put("/dated", CONTENT, etag=None, headers=date, faults=[Fault(after=100_000)])
    folder.fetch(*(folder.request(f"{host.url}/{name}", name) for name in ("f", "weak", "dated")), workers=1)
    assert ranges(host) == [None, None, None, None, None, "bytes=100000-"]
    assert all((folder.raw / name).read_bytes() == CONTENT for name in ("f", "weak", "dated"))


def test_a_host_that_ignores_ranges_sends_it_all_again(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, ranges=False, faults=[Fault(after=100_000)])
    folder.fetch(folder.request(f"{host.url}/f"))
    assert (folder.raw / "file.bin").read_bytes() == CONTENT
    assert host.sent == 100_000 + len(CONTENT)


def test_files_that_came_are_not_fetched_again_when_another_one_failed(host: Host, folder: Folder) -> None:
    host.put("/good", CONTENT)
    host.put("/changing", b"old")
    requests = [folder.request(f"{host.url}/{name}", name) for name in ("good", "changing", "bad")]
    with pytest.raises(DownloadError, match="/bad: expected the file, found HTTP 404 Not Found"):
        folder.fetch(*requests, workers=1)
    assert not folder.raw.exists()
    host.put("/bad", b"now here")
    host.put("/changing", b"new", etag='"second"')
    before = host.sent
    folder.fetch(*requests)
    assert host.sent - before < 100
    assert (folder.raw / "good").read_bytes() == CONTENT
    assert (folder.raw / "changing").read_bytes() == b"new"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(host: Host, folder: Folder, status: int) -> None:
    host.put("/f", CONTENT, faults=[Fault(status=status), Fault(status=status)])
    folder.fetch(folder.request(f"{host.url}/f"))
    assert len(host.asked) == 3


@pytest.mark.parametrize(("status", "text"), [(403, "Forbidden"), (404, "Not Found"), (410, "Gone")])
def test_what_will_not_pass_is_asked_once(host: Host, folder: Folder, status: int, text: str) -> None:
    host.put("/f", CONTENT, faults=[Fault(status=status)])
    with pytest.raises(DownloadError) as error:
        folder.fetch(folder.request(f"{host.url}/f?key=secret"))
    assert str(error.value) == f"{host.url}/f: expected the file, found HTTP {status} {text}"
    assert len(host.asked) == 1
    assert folder.left() == []


def test_retry_after_is_honoured_in_both_its_forms(
    host: Host, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    host.put(
        "/f",
        CONTENT,
        faults=[Fault(status=503, headers={"Retry-After": past}), Fault(status=429, headers={"Retry-After": "1"})],
    )
    started = time.monotonic()
    folder.fetch(folder.request(f"{host.url}/f"))
    assert 1 <= time.monotonic() - started < 2
    assert [record.message.rpartition("; ")[2] for record in caplog.records] == [
        "trying again in 0.0 s",
        "trying again in 1.0 s",
    ]


def test_a_host_that_asks_for_a_long_wait_is_left_alone(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(status=429, headers={"Retry-After": "3600"})])
    with pytest.raises(DownloadError, match="HTTP 429 Too Many Requests; it asks to wait 3,600 s, allowed are 120 s"):
        folder.fetch(folder.request(f"{host.url}/f"))
    assert len(host.asked) == 1


def test_waits_grow(host: Host, folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    host.put("/f", CONTENT, faults=[Fault(status=500)] * 3)
    folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(attempts=4, backoff=0.05))
    waits = [float(record.message.split()[-2]) for record in caplog.records]
    assert len(waits) == 3
    assert all(low <= wait <= high for wait, low, high in zip(waits, (0, 0, 0.1), (0.1, 0.1, 0.2), strict=True))


def test_a_host_that_falls_silent_is_left_and_asked_again(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=100_000, stall=True)])
    folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(idle=0.1, backoff=0.001))
    assert ranges(host) == [None, "bytes=100000-"]


def test_the_time_for_one_file_is_bounded(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=20_000, stall=True)] * 9)
    with pytest.raises(DownloadError, match="/f: expected within 0.2 s, found .* bytes by then; the .* bytes"):
        folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(idle=0.06, total=0.2, backoff=0.001))


def test_the_size_of_one_file_is_bounded_whether_the_host_says_it_or_not(host: Host, folder: Folder) -> None:
    host.put("/said", CONTENT)
    host.put("/unsaid", CONTENT, chunked=True)
    for name, found in (("said", "300,000"), ("unsaid", "more")):
        with pytest.raises(DownloadError, match=f"/{name}: expected at most 200,000 bytes, found {found}"):
            folder.fetch(folder.request(f"{host.url}/{name}"), limits=Limits(size=200_000))
    assert folder.left() == []


def test_a_file_that_is_not_what_the_host_or_the_request_says_is_not_kept(host: Host, folder: Folder) -> None:
    found = hashlib.md5(CONTENT).hexdigest()
    other = hashlib.md5(b"other")
    host.put("/host", CONTENT, headers={"x-goog-hash": google_hash(b"other")})
    host.put("/s3", CONTENT, etag=f'"{other.hexdigest()}"', headers={"Server": "AmazonS3"})
    host.put("/f", CONTENT)
    wrong_sha = hashlib.sha256(b"other").hexdigest()
    sha = hashlib.sha256(CONTENT).hexdigest()
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("host", {}, f"expected md5 {other.hexdigest()} as the host says, found {found}"),
        ("s3", {}, f"expected md5 {other.hexdigest()} as the host says, found {found}"),
        ("f", {"md5": other.hexdigest()}, f"expected md5 {other.hexdigest()} as the request says, found {found}"),
        ("f", {"sha256": wrong_sha}, f"expected sha256 {wrong_sha} as the request says, found {sha}"),
        ("f", {"size": 5}, "expected 5 bytes as the request says, found 300,000"),
    ]
    for name, settings, message in cases:
        with pytest.raises(DownloadError) as error:
            folder.fetch(folder.request(f"{host.url}/{name}", **settings))
        assert str(error.value) == f"{host.url}/{name}: {message}; the file was not kept"
        assert folder.left() == []


def test_an_etag_counts_as_md5_only_where_that_is_certain(host: Host, folder: Folder) -> None:
    digest = '"' + hashlib.md5(b"other").hexdigest() + '"'
    host.put("/any", CONTENT, etag=digest)
    host.put("/kms", CONTENT, etag=digest, headers={"Server": "AmazonS3", "x-amz-server-side-encryption": "aws:kms"})
    host.put("/parts", CONTENT, etag=digest[:-1] + '-2"', headers={"Server": "AmazonS3"})
    folder.fetch(*(folder.request(f"{host.url}/{name}", name) for name in ("any", "kms", "parts")))
    assert len(folder.record()) == 3


def test_a_body_that_ends_early_without_a_broken_connection_is_noticed(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, chunked=True, faults=[Fault(after=100_000)])
    with pytest.raises(DownloadError, match="expected bytes 300000 as the request says, found 100000"):
        folder.fetch(folder.request(f"{host.url}/f", size=300_000))


def test_no_network_is_said_in_one_line(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(DownloadError, match=rf"cannot reach 127.0.0.1:{port}: is there a network\? \(.*refused"):
            folder.fetch(folder.request(f"http://127.0.0.1:{port}/f"))

    def no_name(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    with pytest.raises(DownloadError, match=r"cannot reach storage.example: is there a network\? \(.*name resolution"):
        folder.fetch(folder.request("https://storage.example/f"))


def test_first_lines_are_taken_with_range_requests_and_no_more_is_read(host: Host, folder: Folder) -> None:
    host.put("/f", LINES * 20, headers={"x-goog-hash": google_hash(b"of the whole file, which is not read")})
    folder.fetch(folder.request(f"{host.url}/f", lines=3000))
    expected = b"".join(LINES.splitlines(keepends=True)[:3000])
    assert (folder.raw / "file.bin").read_bytes() == expected
    assert folder.record()[0]["complete"] is False
    assert folder.record()[0]["md5"] == hashlib.md5(expected).hexdigest()
    assert ranges(host)[0] == "bytes=0-65535"
    assert len(host.asked) == 2
    assert host.sent < 1.15 * len(expected)


def test_pieces_grow_until_the_lines_are_there(host: Host, folder: Folder) -> None:
    line = b"x" * 70_000 + b"\n"
    host.put("/f", line * 20)
    folder.fetch(folder.request(f"{host.url}/f", lines=3))
    assert (folder.raw / "file.bin").read_bytes() == line * 3
    # 64 KiB, doubled while no line has ended, then what two further lines of 131,072 bytes take and a tenth more
    assert ranges(host) == ["bytes=0-65535", "bytes=65536-131071", "bytes=131072-419430"]


def test_first_lines_of_a_host_that_ignores_ranges_are_read_only_as_far_as_needed(host: Host, folder: Folder) -> None:
    host.put("/f", LINES * 200, ranges=False)
    folder.fetch(folder.request(f"{host.url}/f", lines=10))
    assert (folder.raw / "file.bin").read_bytes() == b"".join(LINES.splitlines(keepends=True)[:10])
    assert len(host.asked) == 1
    time.sleep(0.05)
    assert host.sent < len(LINES) * 100  # what the sockets hold, not the 52 MB


def test_more_lines_than_there_are_give_the_whole_file_with_its_checks(host: Host, folder: Folder) -> None:
    content = LINES[:-1]  # the last line has no end
    for name, stated, lines in (("good", content, 6000), ("exact", LINES, 5000), ("none", b"", 1)):
        host.put(f"/{name}", stated, headers={"x-goog-hash": google_hash(stated)})
        folder.fetch(folder.request(f"{host.url}/{name}", name, lines=lines))
        assert (folder.raw / name).read_bytes() == stated
    assert [entry["complete"] for entry in folder.record()] == [True, True, True]
    host.put("/bad", content, headers={"x-goog-hash": google_hash(b"other")})
    with pytest.raises(DownloadError, match="expected md5"):
        folder.fetch(folder.request(f"{host.url}/bad", lines=6000))


def test_broken_and_changed_pieces_of_lines_are_mended(host: Host, folder: Folder) -> None:
    host.put("/broken", LINES, faults=[Fault(after=50_000)])
    host.put("/changed", LINES, faults=[Fault(after=50_000), Fault(content=LINES.upper(), etag='"2"')])
    for name in ("broken", "changed"):
        folder.fetch(folder.request(f"{host.url}/{name}", name, lines=4000))
    expected = b"".join(LINES.splitlines(keepends=True)[:4000])
    assert (folder.raw / "broken").read_bytes() == expected
    assert (folder.raw / "changed").read_bytes() == expected.upper()


def test_a_host_that_compresses_unasked_spoils_neither_the_file_nor_its_resume(host: Host, folder: Folder) -> None:
    packed = gzip.compress(LINES)
    encoding = {"Content-Encoding": "gzip"}
    host.put("/f", packed, headers=encoding, faults=[Fault(after=20_000)])
    host.put("/first", packed, headers=encoding)
    host.put("/f.gz", packed, headers=encoding, faults=[Fault(after=20_000)])
    folder.fetch(
        folder.request(f"{host.url}/f", "f"),
        folder.request(f"{host.url}/first", "first", lines=10),
        folder.request(f"{host.url}/f.gz", "f.gz"),
    )
    assert (folder.raw / "f").read_bytes() == LINES
    assert (folder.raw / "first").read_bytes() == b"".join(LINES.splitlines(keepends=True)[:10])
    assert (folder.raw / "f.gz").read_bytes() == packed


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


@pytest.mark.parametrize("kind", ["file", "memory", "path"])
def test_other_file_systems_are_read_by_the_same_rules(folder: Folder, tmp_path: Path, kind: str) -> None:
    base = {"file": f"file://{tmp_path}", "memory": "memory://test", "path": str(tmp_path)}[kind]
    url = join_url(base, "alarm clock #1.txt")
    with fsspec.open(url, "wb") as file:
        file.write(LINES)
    folder.fetch(folder.request(url), folder.request(url, "first", lines=2))
    assert (folder.raw / "file.bin").read_bytes() == LINES
    assert (folder.raw / "first").read_bytes() == b"".join(LINES.splitlines(keepends=True)[:2])
    assert [(entry["complete"], entry["url"], entry["etag"]) for entry in folder.record()] == [
        (True, url, None),
        (False, url, None),
    ]
    with pytest.raises(DownloadError, match="none.txt: expected the file, found none of that name"):
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

    class Disk(LocalFileSystem):
        protocol = "disk"

        def cat_file(self, path: str, start: int, end: int) -> bytes:
            if faults and start:
                raise faults.pop()
            read.append((start, end))
            return bytes(super().cat_file(path, start, end))

    fsspec.register_implementation("disk", Disk, clobber=True)
    url = f"disk://{source}"
    for change, expected in ((False, [100_000, 200_000]), (True, [0, 100_000, 200_000])):
        source.write_bytes(CONTENT)
        faults.extend([OSError("input/output error")] * 2)
        with pytest.raises(DownloadError, match="input/output error.*; the 100,000 bytes that came are kept"):
            folder.fetch(folder.request(url), limits=Limits(attempts=1))
        faults.clear()
        read.clear()
        if change:
            source.write_bytes(CONTENT[::-1])
        folder.fetch(folder.request(url))
        assert (folder.raw / "file.bin").read_bytes() == source.read_bytes()
        assert [start for start, _ in read] == expected


def test_an_unknown_kind_of_url_is_refused(folder: Folder) -> None:
    with pytest.raises(DownloadError, match="nothing://x: cannot be read: Protocol not known: nothing"):
        folder.fetch(folder.request("nothing://x"))


def test_two_processes_do_not_write_one_partial(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=100_000, stall=True)])
    slow = threading.Thread(
        target=lambda: folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(idle=0.2, backoff=0.001))
    )
    slow.start()
    while not host.sent:
        time.sleep(0.01)
    with pytest.raises(DownloadError, match="another process is fetching it"):
        folder.fetch(folder.request(f"{host.url}/f"))
    slow.join()
    assert (folder.raw / "file.bin").read_bytes() == CONTENT


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
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - started < 4
    assert b"KeyboardInterrupt" in errors
    assert not folder.raw.exists()
    before = host.sent
    folder.fetch(*(folder.request(f"{host.url}/{name}", name) for name in ("done", "slow")))
    assert (folder.raw / "slow").read_bytes() == (folder.raw / "done").read_bytes() == CONTENT
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
    with pytest.raises(ValueError, match="found lines=0; allowed are 1 and more"):
        folder.fetch(folder.request(f"{host.url}/a", lines=0))
    with pytest.raises(ValueError, match="found workers=0"):
        folder.fetch(workers=0)
    assert host.asked == []


def test_a_password_comes_from_the_environment_and_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_PASSWORD", "hunter2")
    assert from_environment("https://me:${DATA_PASSWORD}@host/a?x=$1") == "https://me:hunter2@host/a?x=$1"
    with pytest.raises(DownloadError) as caught:
        from_environment("https://me:${DATA_PASSWORD}@host/a?${NO_SUCH}")
    assert str(caught.value) == "https://host/a: the environment has no NO_SUCH, which the address asks for"

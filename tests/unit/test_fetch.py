"""What a download of a whole file survives, and what it refuses."""

from __future__ import annotations

import gzip
import hashlib
import socket
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from stages.fetch import DownloadError, Limits, join_url
from tests.unit.downloads import CONTENT, Folder
from tests.unit.http_server import Fault, Host, google_hash


def test_a_file_arrives_whole_with_a_record_that_is_the_same_on_every_machine(host: Host, folder: Folder) -> None:
    host.put(
        "/b/alarm clock.ndjson", CONTENT, headers={"x-goog-generation": "1492", "x-goog-hash": google_hash(CONTENT)}
    )
    host.put("/a", b"", etag=None)
    url = join_url(host.url, "b", "alarm clock.ndjson")
    assert url == f"{host.url}/b/alarm%20clock.ndjson"
    secret = url.replace("http://", "http://user:secret@") + "?token=secret"
    folder.fetch(folder.request(secret, "z/clock.ndjson"), folder.request(f"{host.url}/a", "empty"))
    assert folder.read("z/clock.ndjson") == CONTENT
    assert folder.read("empty") == b""
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
    assert {request.accept_encoding for request in host.requests} == {"identity"}


def test_a_broken_connection_is_taken_up_where_it_broke(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=100_000), Fault(after=50_000)])
    folder.fetch(folder.request(f"{host.url}/f", md5=hashlib.md5(CONTENT).hexdigest(), size=300_000))
    assert folder.read() == CONTENT
    assert host.ranges() == [None, "bytes=100000-", "bytes=150000-"]
    assert host.requests[1].if_range == '"first"'
    assert host.sent == len(CONTENT)


def test_any_number_of_breaks_is_survived_while_each_attempt_brings_something(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=20_000)] * 14)
    folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(attempts=2, backoff=0.001))
    assert folder.read() == CONTENT


def test_the_next_start_goes_on_after_dvc_has_emptied_the_folder(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=100_000)] + [Fault(status=503)] * 4)
    with pytest.raises(DownloadError, match="HTTP 503.*; the next start resumes from the 100,000 bytes received"):
        folder.fetch(folder.request(f"{host.url}/f"))
    assert not folder.raw.exists()
    folder.fetch(folder.request(f"{host.url}/f"))
    assert host.ranges()[-1] == "bytes=100000-"
    assert folder.read() == CONTENT
    assert folder.kept() == 0


def test_a_changed_remote_file_begins_anew_also_where_the_host_ignores_if_range(host: Host, folder: Folder) -> None:
    for guarded in (True, False):
        new = CONTENT[::-1]
        change = Fault(content=new, etag='"second"')
        host.put("/f", CONTENT, guarded=guarded, faults=[Fault(after=100_000), change])
        folder.fetch(folder.request(f"{host.url}/f", f"{guarded}"))
        assert folder.read(f"{guarded}") == new
    assert {entry["etag"] for entry in folder.record()} == {'"second"'}


def test_a_host_that_never_stays_with_one_version_is_given_up(host: Host, folder: Folder) -> None:
    faults = [Fault(after=20_000 * n, etag=f'"{n}"') for n in range(1, 12)]
    host.put("/f", CONTENT, faults=faults)
    with pytest.raises(DownloadError, match="the connection broke"):
        folder.fetch(folder.request(f"{host.url}/f"))
    assert len(host.requests) == 5  # the first, and four that began anew


def test_a_part_is_not_continued_where_nothing_tells_versions_apart(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, etag=None, faults=[Fault(after=100_000)])
    host.put("/weak", CONTENT, etag='W/"1"', faults=[Fault(after=100_000)])
    date = {"Last-Modified": "Tue, 01 Jan 2019 00:00:00 GMT"}
    host.put("/dated", CONTENT, etag=None, headers=date, faults=[Fault(after=100_000)])
    folder.fetch(*(folder.request(f"{host.url}/{name}", name) for name in ("f", "weak", "dated")), workers=1)
    assert host.ranges() == [None, None, None, None, None, "bytes=100000-"]
    assert all(folder.read(name) == CONTENT for name in ("f", "weak", "dated"))


def test_a_host_that_ignores_ranges_sends_it_all_again(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, ranges=False, faults=[Fault(after=100_000)])
    folder.fetch(folder.request(f"{host.url}/f"))
    assert folder.read() == CONTENT
    assert host.sent == 100_000 + len(CONTENT)


def test_files_that_came_are_not_fetched_again_when_another_one_failed(host: Host, folder: Folder) -> None:
    host.put("/good", CONTENT)
    host.put("/changing", b"old")
    requests = [folder.request(f"{host.url}/{name}", name) for name in ("good", "changing", "bad")]
    with pytest.raises(DownloadError, match="/bad: the host has no such file, found HTTP 404 Not Found"):
        folder.fetch(*requests, workers=1)
    assert not folder.raw.exists()
    host.put("/bad", b"now here")
    host.put("/changing", b"new", etag='"second"')
    before = host.sent
    folder.fetch(*requests)
    assert host.sent - before < 100
    assert folder.read("good") == CONTENT
    assert folder.read("changing") == b"new"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(host: Host, folder: Folder, status: int) -> None:
    host.put("/f", CONTENT, faults=[Fault(status=status), Fault(status=status)])
    folder.fetch(folder.request(f"{host.url}/f"))
    assert len(host.requests) == 3


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (204, "the host sent an empty answer instead of the file, found HTTP 204 No Content"),
        (400, "expected the file, found HTTP 400 Bad Request"),
        (403, "the host refuses access to the file, found HTTP 403 Forbidden"),
        (404, "the host has no such file, found HTTP 404 Not Found"),
        (410, "the host no longer has the file, found HTTP 410 Gone"),
    ],
)
def test_what_will_not_pass_is_asked_once(host: Host, folder: Folder, status: int, said: str) -> None:
    host.put("/f", CONTENT, faults=[Fault(status=status)])
    with pytest.raises(DownloadError) as error:
        folder.fetch(folder.request(f"{host.url}/f?key=secret"))
    assert str(error.value) == f"{host.url}/f: {said}"
    assert len(host.requests) == 1
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
    with pytest.raises(DownloadError, match="HTTP 429 Too Many Requests; it asks to wait 3,600 s, allowed: 120 s"):
        folder.fetch(folder.request(f"{host.url}/f"))
    assert len(host.requests) == 1


def test_waits_grow(host: Host, folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    host.put("/f", CONTENT, faults=[Fault(status=500)] * 3)
    folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(attempts=4, backoff=0.05))
    waits = [float(record.message.split()[-2]) for record in caplog.records]
    assert len(waits) == 3
    assert all(low <= wait <= high for wait, low, high in zip(waits, (0, 0, 0.1), (0.1, 0.1, 0.2), strict=True))


def test_a_host_that_falls_silent_is_left_and_asked_again(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=100_000, stall=True)])
    folder.fetch(folder.request(f"{host.url}/f"), limits=Limits(idle=0.1, backoff=0.001))
    assert host.ranges() == [None, "bytes=100000-"]


def test_the_time_for_one_file_is_bounded(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, faults=[Fault(after=20_000, stall=True)] * 9)
    with pytest.raises(DownloadError, match="/f: not complete after 0.2 s, .* bytes received; the next start"):
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


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_that_ends_early_is_asked_for_again(host: Host, folder: Folder, encoding: str) -> None:
    text = b"a day and a value" * 9_000 + CONTENT
    packed = gzip.compress(text[:100]) + gzip.compress(text[100:]) if encoding == "gzip" else zlib.compress(text)
    cuts = [Fault(after=200_000), Fault(after=len(packed) - 1), Fault(after=0)]
    file = host.put("/f", packed, chunked=True, headers={"Content-Encoding": encoding}, faults=cuts)
    folder.fetch(folder.request(f"{host.url}/f"))
    assert folder.read() == text
    assert len(host.requests) == 4
    file.faults = [Fault(after=200_000)] * 9
    with pytest.raises(DownloadError, match=f"/f: the connection closed before the {encoding} body ended"):
        folder.fetch(folder.request(f"{host.url}/f", "other"))


def test_a_content_encoding_that_nothing_here_reads_is_refused(host: Host, folder: Folder) -> None:
    host.put("/f", CONTENT, headers={"Content-Encoding": "br"})
    with pytest.raises(DownloadError, match="/f: found the content encoding 'br'; allowed: identity, gzip"):
        folder.fetch(folder.request(f"{host.url}/f"))


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

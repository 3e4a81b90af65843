"""The first lines of a remote file, and bodies that a host compresses."""

from __future__ import annotations

import gzip
import hashlib
import time

import pytest

from stages.fetch import DownloadError
from tests.unit.downloads import LINES, Folder, first_lines
from tests.unit.http_server import Fault, Host, google_hash


def test_first_lines_are_taken_with_range_requests_and_no_more_is_read(host: Host, folder: Folder) -> None:
    host.put("/f", LINES * 20, headers={"x-goog-hash": google_hash(b"of the whole file, which is not read")})
    folder.fetch(folder.request(f"{host.url}/f", lines=3000))
    expected = first_lines(3000)
    assert folder.read() == expected
    assert folder.record()[0]["complete"] is False
    assert folder.record()[0]["md5"] == hashlib.md5(expected).hexdigest()
    assert host.ranges()[0] == "bytes=0-65535"
    assert len(host.requests) == 2
    assert host.sent < 1.15 * len(expected)


def test_pieces_grow_until_the_lines_are_there(host: Host, folder: Folder) -> None:
    line = b"x" * 70_000 + b"\n"
    host.put("/f", line * 20)
    folder.fetch(folder.request(f"{host.url}/f", lines=3))
    assert folder.read() == line * 3
    # 64 KiB, doubled while no line has ended, then what two further lines of 131,072 bytes take and a tenth more
    assert host.ranges() == ["bytes=0-65535", "bytes=65536-131071", "bytes=131072-419430"]


def test_first_lines_of_a_host_that_ignores_ranges_are_read_only_as_far_as_needed(host: Host, folder: Folder) -> None:
    host.put("/f", LINES * 200, ranges=False)
    folder.fetch(folder.request(f"{host.url}/f", lines=10))
    assert folder.read() == first_lines(10)
    assert len(host.requests) == 1
    time.sleep(0.05)
    assert host.sent < len(LINES) * 100  # what the sockets hold, not the 52 MB


def test_more_lines_than_there_are_give_the_whole_file_with_its_checks(host: Host, folder: Folder) -> None:
    content = LINES[:-1]  # the last line has no end
    for name, stated, lines in (("good", content, 6000), ("exact", LINES, 5000), ("none", b"", 1)):
        host.put(f"/{name}", stated, headers={"x-goog-hash": google_hash(stated)})
        folder.fetch(folder.request(f"{host.url}/{name}", name, lines=lines))
        assert folder.read(name) == stated
    assert [entry["complete"] for entry in folder.record()] == [True, True, True]
    host.put("/bad", content, headers={"x-goog-hash": google_hash(b"other")})
    with pytest.raises(DownloadError, match="expected md5"):
        folder.fetch(folder.request(f"{host.url}/bad", lines=6000))


def test_broken_and_changed_pieces_of_lines_are_mended(host: Host, folder: Folder) -> None:
    host.put("/broken", LINES, faults=[Fault(after=50_000)])
    host.put("/changed", LINES, faults=[Fault(after=50_000), Fault(content=LINES.upper(), etag='"2"')])
    for name in ("broken", "changed"):
        folder.fetch(folder.request(f"{host.url}/{name}", name, lines=4000))
    expected = first_lines(4000)
    assert folder.read("broken") == expected
    assert folder.read("changed") == expected.upper()


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
    assert folder.read("f") == LINES
    assert folder.read("first") == first_lines(10)
    assert folder.read("f.gz") == packed

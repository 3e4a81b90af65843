"""What a served model opens for strangers, and what its answers keep to themselves."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pandas as pd
import pytest

from stages.serving import served
from stages.tasks.video.serve.local_copy import local_copy
from stages.tasks.video.serve.predictor import Predictor
from tests.unit.http_server import Fault, Host
from tests.unit.test_video_serve import untrained
from tests.unit.video_clips import write_clip

TEMPLATES = {"t": "{{x}}"}


def refused(address: str) -> str:
    with pytest.raises(ValueError) as caught, local_copy(address):  # noqa: PT011 - the text is what is asked for
        pass
    return str(caught.value)


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a server."""
    monkeypatch.setenv("UNROLL_SERVED", "1")


@pytest.fixture
def only_one_host(monkeypatch: pytest.MonkeyPatch, strangers: None) -> None:
    """A server to which 127.0.0.1 is a public host, and the only one."""
    monkeypatch.setattr(served, "is_public", lambda address: address == "127.0.0.1")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::5db8:d70e", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a00:1", False),
        ("2002:7f00:1::1", False),
        ("2002:5db8:d70e::1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("::7f00:1", False),
        ("::a9fe:a9fe", False),
        ("::5db8:d70e", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("64:ff9b:1::5db8:d70e", False),
        ("fec0::1", False),
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("4000::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert served.is_public(address) is public


@pytest.mark.parametrize("name", ["UNROLL_SERVED", "__pyfunc_model_path__"])
def test_a_server_is_known_by_our_switch_and_by_mlflows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not served.is_served()
    monkeypatch.setenv(name, "1")
    assert served.is_served()


@pytest.mark.parametrize("in_a_server", [True, False])
def test_no_address_leads_through_another_protocol(
    in_a_server: bool, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference file system's templates would read the environment, and send it to whoever asks."""
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "a-key-that-nobody-must-see")
    if in_a_server:
        monkeypatch.setenv("UNROLL_SERVED", "1")
    leak = f"{host.url}/leak?{{{{t.__globals__[os].environ[SECRET_OF_THE_SERVER]}}}}"
    host.put("/evil.json", json.dumps({"version": 1, "templates": TEMPLATES, "refs": {"clip.mp4": [leak]}}).encode())
    for address in (
        f"reference://clip.mp4::{host.url}/evil.json",
        f"simplecache::{host.url}/evil.json",
        f"zip://clip.mp4::{host.url}/evil.json",
        "ftp://127.0.0.1/clip.mp4",
        "dvc://path/clip.mp4",
        "git://path:repo@main/clip.mp4",
        "github://org:repo@main/clip.mp4",
        "memory://bucket/clip",
        "local:///etc/passwd",
        "dir://clip::file:///etc",
        "data://text/plain,abc",
    ):
        assert "allowed: https, http, s3, gs, file" in refused(address), address
    refused(f"http://clip.mp4::{host.url}/evil.json")
    assert host.requests == []


def test_a_server_opens_no_path_of_its_own(strangers: None, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 60)
    addresses = ["/etc/shadow", "/etc/nothere", "/etc", "file:///etc/shadow", "file:///etc/nothere", "clip.mp4", ""]
    addresses += [str(clip), clip.as_uri(), "a\0b", "x" * 5000, "../" * 9, "~/.ssh/id_rsa", "file://", "\ud800"]
    assert {refused(address) for address in addresses} == {
        "found a path on the server; allowed: an address such as https://host/clip.mp4 (https, http, s3 or gs) on a "
        "publicly reachable host, or a file in the folder that the server shares"
    }


def test_a_server_opens_what_lies_in_the_folder_that_it_shares(
    strangers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared clips"
    clip = write_clip(shared / "deep" / "a clip.mp4", 60)
    secret = write_clip(tmp_path / "secret.mp4", 60)
    (shared / "link.mp4").symlink_to(secret)
    (shared / "way").symlink_to(tmp_path)
    (shared / "inside.mp4").symlink_to(clip)
    (shared / "round.mp4").symlink_to(shared / "round.mp4")
    monkeypatch.setenv("UNROLL_CLIPS", str(shared))
    for address in (str(clip), clip.as_uri(), f"file://{clip}", "deep/a clip.mp4", "./deep/../deep/a clip.mp4"):
        with local_copy(address) as path:
            assert path == clip
    with local_copy(str(shared / "inside.mp4")) as path:
        assert path == clip
    outside = [str(secret), "../secret.mp4", str(shared / "link.mp4"), "way/secret.mp4", "way/nothere", "/etc/shadow"]
    outside += [f"file://{shared}/%2e%2e/secret.mp4", f"{shared}/../secret.mp4", "round.mp4"]
    texts = {refused(address) for address in outside}
    assert len(texts) == 1
    assert "found a path on the server" in texts.pop()
    answers = Predictor(untrained(tmp_path)).predict(
        pd.DataFrame({"path": ["deep/a clip.mp4", "deep/none.mp4", "deep"]}), on_error="report"
    )
    assert answers["label"].notna().tolist() == [True, False, False]
    assert [str(error).partition(": ")[2] for error in answers["error"][1:]] == [
        "no such file",
        "no file, but a folder, a pipe or a device",
    ]
    assert not any(str(tmp_path) in str(error) for error in answers["error"])


def test_a_server_asks_no_host_of_its_own_network(strangers: None, host: Host) -> None:
    """Whether somebody listens there, and whether there is such a name, cannot be told from the answer."""
    host.put("/clip", b"a clip")
    port = host.url.rpartition(":")[2]
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        addresses = [f"http://127.0.0.1:{closed.getsockname()[1]}/clip"]
        names = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "0.0.0.0", "no.invalid")
        addresses += [f"http://{name}:{port}/clip" for name in names]
        addresses += ["http://169.254.169.254/latest/meta-data/", "https://10.0.0.1/clip"]
        texts = {refused(address) for address in addresses}
    assert len(texts) == 1
    assert "no such host can be reached; allowed: an address such as" in texts.pop()
    for odd in ("http://2130706433/clip", "http://127.1/clip", "http://0x7f000001/clip"):
        assert "allowed" in (text := refused(f"{odd}")) or "cannot be read" in text
    assert host.requests == []


def test_redirects_are_followed_to_public_hosts_alone(only_one_host: None, host: Host) -> None:
    port = host.url.rpartition(":")[2]
    host.put("/clip", b"a clip")
    host.put("/moved", b"", faults=[Fault(status=302, headers={"Location": f"{host.url}/clip"})] * 9)
    for name, target in (
        ("/inside", f"http://127.0.0.2:{port}/clip"),
        ("/name", f"http://localhost.localdomain:{port}/clip"),
        ("/file", "file:///etc/passwd"),
        ("/ftp", "ftp://127.0.0.1/clip"),
    ):
        host.put(name, b"", faults=[Fault(status=302, headers={"Location": target})] * 9)
        refused(f"{host.url}{name}")
    assert "no such host" in refused(f"{host.url}/inside")
    with local_copy(f"{host.url}/moved") as copy:
        assert copy.read_bytes() == b"a clip"


def test_a_name_that_stands_for_another_host_the_second_time_is_not_followed(
    only_one_host: None, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is checked is the address that is connected to, each time."""
    host.put("/clip", b"a clip")
    told: list[str] = []

    def lookup(name: object, port: object, **_: object) -> list[tuple[object, ...]]:
        told.append("127.0.0.1" if not told else "127.0.0.2")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (told[-1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", lambda name, port, *_, **__: lookup(name, port))
    port = host.url.rpartition(":")[2]
    address = f"http://rebinding.example:{port}/clip"
    with local_copy(address) as copy:
        assert copy.read_bytes() == b"a clip"
    from stages.tasks.video.serve import local_copy as module

    system = module._file_system("http")
    type(system).clear_instance_cache()  # with its connections and the names it knows
    assert "no such host" in refused(address)
    assert told[-1] == "127.0.0.2"


def test_in_ones_own_process_paths_and_private_hosts_are_opened(host: Host, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 60)
    host.put("/clip", clip.read_bytes())
    for address in (str(clip), clip.as_uri(), f"{host.url}/clip", os.path.relpath(clip)):
        with local_copy(address) as path:
            assert path.read_bytes() == clip.read_bytes()

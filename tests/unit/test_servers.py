"""Which servers a shell finds: those that run, wherever they listen, and none of another checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from flows.server.address import check_server, choose_server, tell_of_the_end
from flows.server.servers import Servers, ServersError, here

VARIABLES = ("PREFECT_API_URL", "PREFECT_UI_URL", "PREFECT_HOME", "UNROLL_MLFLOW_UI", "MLFLOW_TRACKING_URI")
CHOICES = ("UNROLL_PREFECT_PORT", "UNROLL_MLFLOW_PORT", "UNROLL_POSTGRES_PORT", "UNROLL_BACKEND")


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in whose folder a new shell stands."""
    for name in (*VARIABLES, *CHOICES):
        monkeypatch.setenv(name, "")  # so that what a test sets is taken away again
        monkeypatch.delenv(name)
    folder = tmp_path / "here"
    (folder / ".prefect").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield started
    started.kill()
    started.wait()


def record(checkout: Path, process: subprocess.Popen[bytes], **ports: int) -> None:
    """What `up` in another shell has left."""
    started = psutil.Process(process.pid).create_time()
    entries = [{"name": n, "pid": process.pid, "started": started, "port": port} for n, port in ports.items()]
    (checkout / ".prefect" / "servers.json").write_text(json.dumps(entries))


@pytest.fixture
def prefect(checkout: Path) -> Iterator[str]:
    """The address of something that answers as the Prefect server of this checkout does; `.home` is another's."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"home": (checkout / "home").read_text()} if "admin" in self.path else True).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    (checkout / "home").write_text(str(checkout / ".prefect"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_another_shell_finds_the_servers_on_their_ports(checkout: Path, process: subprocess.Popen[bytes]) -> None:
    record(checkout, process, prefect=4301, mlflow=5301)
    assert (here().prefect, here().mlflow) == ("http://127.0.0.1:4301", "http://127.0.0.1:5301")
    (checkout / ".prefect" / "servers.json").unlink()
    assert (here().prefect, here().mlflow) == ("http://127.0.0.1:4200", "http://127.0.0.1:5000")


def test_what_no_longer_runs_says_nothing(checkout: Path, process: subprocess.Popen[bytes]) -> None:
    record(checkout, process, prefect=4301)
    process.kill()
    process.wait()
    assert here().prefect == "http://127.0.0.1:4200"


def test_another_shell_finds_the_backend(checkout: Path, process: subprocess.Popen[bytes]) -> None:
    record(checkout, process, prefect=4301, mlflow=5301, postgres=5555)
    (checkout / ".prefect" / "backend").write_text("postgres")
    assert here().environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5301"  # else stages write to a file


def test_up_does_not_move_a_server_that_runs(
    checkout: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(checkout, process, prefect=4301, mlflow=5301)
    monkeypatch.setenv("UNROLL_PREFECT_PORT", "4999")
    with pytest.raises(
        ServersError, match="prefect already runs on port 4301; run `make down` first, or unset UNROLL_PREFECT_PO"
    ):
        here().up()


def test_a_run_takes_the_server_of_its_checkout(checkout: Path, process: subprocess.Popen[bytes], prefect: str) -> None:
    record(checkout, process, prefect=int(prefect.rpartition(":")[2]))
    choose_server()
    assert os.environ["PREFECT_API_URL"] == f"{prefect}/api"
    assert os.environ["PREFECT_HOME"] == str(checkout / ".prefect")


def test_a_run_without_a_server_gets_a_temporary_one_and_says_so_at_both_ends(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choose_server()
    assert "PREFECT_API_URL" not in os.environ
    tell_of_the_end()
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("unroll: starting a temporary Prefect server; ")
    assert last == "unroll: stopping the temporary Prefect server …"


def test_a_run_with_a_server_says_nothing_of_a_temporary_one(
    prefect: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{prefect}/api")
    choose_server()
    tell_of_the_end()
    assert capsys.readouterr().err == ""


def test_a_stranger_s_server_is_refused_in_one_line(
    checkout: Path, prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = checkout.with_name("other")
    other.mkdir()
    (checkout / "home").write_text(str(other / ".prefect"))
    monkeypatch.setenv("PREFECT_API_URL", f"{prefect}/api")
    choose_server()  # a home that is in no checkout: a team's server, by whatever way
    (other / "dvc.yaml").touch()
    with pytest.raises(SystemExit, match=f"^unroll: servers: {prefect}/api is the server of {other}, ") as refused:
        choose_server()
    assert "\n" not in str(refused.value)
    monkeypatch.setenv("PREFECT_HOME", str(other / ".prefect"))  # on purpose
    choose_server()


def test_a_dead_address_is_one_line(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://me:secret@127.0.0.1:9/api")
    with pytest.raises(SystemExit, match="^unroll: servers: no Prefect server answers at http://127.0.0.1:9/api ") as e:
        choose_server()
    assert "\n" not in str(e.value)
    with pytest.raises(ServersError, match="no Prefect server answers at nonsense"):
        check_server("nonsense", home=checkout)


def test_ports_are_numbers(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    monkeypatch.setenv("UNROLL_PREFECT_PORT", "http")
    with pytest.raises(ServersError, match="UNROLL_PREFECT_PORT: found 'http'; allowed: a whole number"):
        here()
    assert Servers(checkout, prefect_port=1, mlflow_port=2).prefect == "http://127.0.0.1:1"

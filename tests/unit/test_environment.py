"""What the environment of our processes is made to hold, and how they end when they are told to."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import httpx
import pytest
import requests

from stages import environment
from stages.environment import prepare

REPOSITORY = Path(__file__).resolve().parents[2]


def run(code: str, **variables: str) -> str:
    """What a new Python says that knows nothing but PATH and these variables."""
    given = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("house", ["stages", "flows"])
def test_no_tool_reports_home_however_it_is_started(house: str) -> None:
    names = (
        "DO_NOT_TRACK",
        "DVC_NO_ANALYTICS",
        "MLFLOW_DISABLE_TELEMETRY",
        "PREFECT_SERVER_ANALYTICS_ENABLED",
        "RAY_USAGE_STATS_ENABLED",
    )
    assert run(f"import os, {house}; print(*map(os.environ.get, {names}))") == "1 true true false 0"


def test_another_dvc_in_the_way_is_not_used(tmp_path: Path) -> None:
    for name in ("dvc", "python"):
        (tmp_path / name).write_text("#!/bin/sh\necho another; exit 3\n")
        (tmp_path / name).chmod(0o755)
    code = "import shutil, {}; print(shutil.which('dvc'), shutil.which('python'))"
    own = Path(sys.executable).parent
    for house in ("stages", "flows"):
        assert run(code.format(house), PATH=str(tmp_path)) == f"{own / 'dvc'} {own / 'python'}"


def test_prefect_reads_it() -> None:
    code = (
        "import flows; from prefect.settings import get_current_settings as now; print(now().server.analytics_enabled)"
    )
    assert run(code) == "False"


def test_this_machine_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "intranet, .example.org")
    prepare()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "intranet,.example.org,127.0.0.1,localhost,::1"
    assert urllib.request.proxy_bypass("127.0.0.1:4200")
    assert not urllib.request.proxy_bypass("example.com")
    assert not requests.utils.get_environ_proxies("http://127.0.0.1:5000")
    for host in ("127.0.0.1", "localhost", "[::1]"):
        transport = httpx.Client()._transport_for_url(httpx.URL(f"http://{host}:4200"))
        assert not hasattr(transport._pool, "_proxy_url")  # type: ignore[attr-defined]
    prepare()
    assert os.environ["NO_PROXY"].count("127.0.0.1") == 1


def test_without_a_proxy_nothing_is_said_of_one() -> None:
    given: dict[str, str] = {}
    prepare(given)
    assert not [name for name in given if name.lower() == "no_proxy"]


def test_a_user_whom_nobody_knows_has_a_name_and_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    given: dict[str, str] = {}
    prepare(given)
    assert (given["HOME"], given["USER"]) == ("/", str(os.getuid()))
    given = {"HOME": "/work", "LOGNAME": "me"}
    prepare(given)
    assert given["HOME"] == "/work"
    assert "USER" not in given


def test_a_checkout_of_another_user_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    given = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "me"}
    prepare(given)
    assert given["GIT_CONFIG_COUNT"] == "3"
    assert given["GIT_CONFIG_KEY_1"] == "safe.directory"
    assert given["GIT_CONFIG_VALUE_1"] == str(tmp_path)
    before = dict(given)
    prepare(given)  # in a process that such a one has started
    assert given == before


IMPORTS = ("stages.train", "forecast"), ("stages.registry", "list"), ("flows.plan",), ("flows.run", "forecast")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", IMPORTS, ids=lambda command: command[0])
def test_told_to_stop_while_it_imports(command: tuple[str, ...], number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", *command],  # says what is being imported
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    heavy = ("numpy", "sqlalchemy", "httpx", "networkx")
    for line in process.stderr:
        if line.rpartition("|")[2].strip().startswith(heavy):
            break
    time.sleep(0.05)
    process.send_signal(number)
    said = [line for line in process.stderr if not line.startswith("import time:")]
    assert process.wait(30) == 75, said
    assert said == ["unroll: stopped\n"]


def test_an_interrupt_is_both_an_exit_and_an_interrupt() -> None:
    code = (
        "import os, signal, sys, time\nfrom stages.stopping import exit_on_signals\nexit_on_signals()\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)\n"
        "except KeyboardInterrupt:\n    print('tidied up')\n    raise\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (75, "tidied up\n", "unroll: stopped\n")

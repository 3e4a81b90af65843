"""Commands that end with the one who asked for them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.execution import supervisor
from flows.execution.supervisor import run_supervised

PYTHON = sys.executable
REPOSITORY = Path(__file__).resolve().parents[2]

# A child, and a grandchild in a session of its own that will not hear of SIGTERM; both write their ids.
FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"],
    start_new_session=True,
)
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


def test_output_and_status_come_back(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"
    ended = run_supervised([PYTHON, "-u", "-c", script], folder=tmp_path, on_line=lines.append)
    assert (ended.status, ended.tail, ended.timed_out) == (3, ("one", "two"), False)
    assert lines == ["one", "two"]


def test_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    ended = run_supervised([PYTHON, "-c", "print(*range(100), sep='\\n')"], folder=tmp_path)
    assert ended.tail == tuple(str(number) for number in range(80, 100))


def test_folder_and_environment_are_the_commands(tmp_path: Path) -> None:
    script = "import os; print(os.getcwd(), os.environ['GREETING'])"
    ended = run_supervised([PYTHON, "-c", script], folder=tmp_path, environment={"GREETING": "hello"})
    assert ended.tail == (f"{tmp_path} hello",)


def test_a_command_that_is_not_there_is_said(tmp_path: Path) -> None:
    ended = run_supervised(["no-such-command"], folder=tmp_path)
    assert ended.status == 127
    assert ended.tail == ("unroll: no-such-command: No such file or directory",)


def test_time_over_ends_the_command_and_all_it_started(tmp_path: Path) -> None:
    ended = run_supervised([PYTHON, "-c", FAMILY], folder=tmp_path, timeout=1.5)
    assert ended.timed_out
    assert ended.status != 0
    assert not any(psutil.pid_exists(int(pid)) for pid in ended.tail[0].split())


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_nothing_outlives_the_one_who_asked(tmp_path: Path, end: str) -> None:
    asking = (
        "import sys; from pathlib import Path; from flows.execution.supervisor import run_supervised\n"
        f"command = [sys.executable, '-c', {FAMILY!r}]\n"
        "run_supervised(command, folder=Path(), on_line=lambda line: print(line, flush=True))"
    )
    flow = subprocess.Popen([PYTHON, "-c", asking], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert flow.stdout is not None
    family = [psutil.Process(int(pid)) for pid in flow.stdout.readline().split()]
    assert len(family) == 2
    started = time.monotonic()
    getattr(flow, end)()
    flow.wait()
    assert psutil.wait_procs(family, timeout=15)[1] == []
    assert time.monotonic() - started < supervisor.GRACE + 5
    flow.stdout.close()

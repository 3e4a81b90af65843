"""A process that ends with the one that started it, however early that one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Each launcher starts a child and is killed before the child asks: as a rank asks once torch is imported.
CHILD = """
import os, sys, time
from pathlib import Path

def work(launcher, seen, outlived):
    Path(seen).touch()
    while os.path.exists(f"/proc/{launcher}") and b"\\nState:\\tZ" not in Path(f"/proc/{launcher}/status").read_bytes():
        time.sleep(0.01)
    time.sleep(0.1)
    from stages.stopping import end_with_parent
    end_with_parent()
    Path(outlived).touch()
"""
SPAWNED = """
import multiprocessing, os, sys, time
from child import work

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work, args=(os.getpid(), *sys.argv[1:])).start()
    time.sleep(60)
"""
COMMAND = """
import os, subprocess, sys, time

early = "from stages import stopping;" if EARLY else ""
code = f"import sys; from child import work; {early} work(*sys.argv[1:])"
subprocess.Popen([sys.executable, "-c", code, str(os.getpid()), *sys.argv[1:]], start_new_session=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    "launcher",
    [SPAWNED, COMMAND.replace("EARLY", "True"), COMMAND.replace("EARLY", "False")],
    ids=["spawned", "command", "command that was too late to ask for its parent"],
)
def test_a_child_whose_launcher_died_before_it_asked_ends_at_once(tmp_path: Path, launcher: str) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "launcher.py").write_text(launcher)
    seen, outlived = tmp_path / "seen", tmp_path / "outlived"
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "launcher.py"), str(seen), str(outlived)],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"},
        stdout=subprocess.PIPE,  # whose other end all that it has started hold
    )
    deadline = time.monotonic() + 20
    while not seen.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.communicate(timeout=20)[0] == b""  # the child has ended, too
    assert not outlived.exists()

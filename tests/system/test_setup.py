"""What a new user does first, as far as it needs no pipeline run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
REPOSITORY = Path(__file__).resolve().parents[2]


def test_help_lists_every_documented_target():
    printed = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for target in ("repro", "test", "check", "ui"):
        assert f"make {target}" in printed
        assert f"make {target}" in readme or target == "check"


def test_without_a_fitting_python_the_way_out_is_said(tmp_path):
    for name in ("Makefile", "requirements.lock", "requirements-torch.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("sh", "make", "grep", "sed", "awk", "touch", "env"):
        found = shutil.which(tool)
        assert found
        (bare / tool).symlink_to(found)
    command = ["make", "environment"]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": str(bare)}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=" in done.stderr


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-cluster.lock", "requirements-dev.lock"])
def test_the_locks_have_hashes_and_no_address(name):
    lock = (REPOSITORY / name).read_text(encoding="utf-8")
    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert not any(line.startswith("torch==") for line in lock.splitlines())


def test_the_locks_agree_and_the_pipeline_installs_no_tool_of_the_tests():
    own, cluster, developer = (
        dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (REPOSITORY / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements.lock", "requirements-cluster.lock", "requirements-dev.lock")
    )
    for others in (cluster, developer):
        assert not {name for name in others if name in own and own[name] != others[name]}
    assert not own.keys() & {"pytest", "ruff", "mypy", "playwright", "moto", "duckdb", "polars", "prefect-docker"}
    assert cluster.keys() <= developer.keys()


def test_two_new_processes_can_open_a_new_store_at_once(tmp_path):
    """MLflow's migrations destroy each other when several processes make one sqlite store; ours take turns."""
    import os
    import sys

    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    code = "from stages.tracking.mlflow_runs import open_client; print(len(open_client().search_experiments()))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=180)[0].strip() for process in running] == ["1", "1", "1"]

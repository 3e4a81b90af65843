"""What a new user does first, as far as it needs no pipeline run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make environment` needs, in a folder of its own."""
    folder = tmp_path / "checkout"
    (folder / "deploy").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "requirements-torch.txt", "deploy/environment.sh"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def environment_of(checkout: Path, at: Path) -> Path:
    """An environment at `at` that holds what the locks of `checkout` ask for, as far as make can see."""
    (at / "bin").mkdir(parents=True)
    (at / "bin/python").symlink_to(sys.executable)
    (at / "package.py").touch()
    locks = (checkout / "requirements.lock", checkout / "requirements-torch.txt")
    (at / ".base").write_bytes(b"".join(lock.read_bytes() for lock in locks))
    return at


def make_environment(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    # As a user's shell starts it: a make that runs inside another says which folder it enters.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", "environment"]
    return subprocess.run(
        command, cwd=checkout, env={**outside, **variables}, capture_output=True, text=True, check=False
    )


def test_without_a_fitting_python_the_way_out_is_said(checkout, tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("sh", "make", "grep", "sed", "awk", "touch", "env", "date", "dirname", "cat", "cmp"):
        found = shutil.which(tool)
        assert found
        (bare / tool).symlink_to(found)
    done = make_environment(checkout, PATH=str(bare))
    assert done.returncode != 0
    assert "no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=" in done.stderr


def test_a_newer_lock_of_the_same_content_installs_nothing(checkout):
    environment = environment_of(checkout, checkout / ".venv")
    (checkout / "requirements.lock").touch()
    done = make_environment(checkout)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (environment / "package.py").exists()


def test_a_link_to_the_environment_of_another_checkout_is_used_but_never_changed(checkout, tmp_path):
    environment = environment_of(checkout, tmp_path / "other/.venv")
    (checkout / ".venv").symlink_to(environment)
    assert make_environment(checkout).returncode == 0
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# another lock\n")
    done = make_environment(checkout)
    assert done.returncode != 0
    assert f"unroll: .venv is a link to {environment}, which does not hold" in done.stderr
    assert (environment / "package.py").exists()


def test_a_build_that_fails_leaves_the_environment_that_was_there(checkout, tmp_path):
    environment = environment_of(checkout, checkout / ".venv")
    (checkout / "requirements-torch.txt").write_text("torch==0\n")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || { mkdir -p "$3"; exit 1; }\n')
    python.chmod(0o755)
    done = make_environment(checkout, PYTHON=str(python))
    assert done.returncode != 0
    assert (environment / "package.py").exists()
    assert [path.name for path in checkout.glob(".venv*")] == [".venv"]


LOCKS = ["requirements.lock", "requirements-cluster.lock", "requirements-demo.lock", "requirements-dev.lock"]


@pytest.mark.parametrize("name", LOCKS)
def test_the_locks_have_hashes_and_no_address(name):
    lock = (REPOSITORY / name).read_text(encoding="utf-8")
    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert not any(line.startswith("torch==") for line in lock.splitlines())


def test_the_locks_agree_and_the_pipeline_installs_no_tool_of_the_tests():
    own, cluster, demo, developer = (
        dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (REPOSITORY / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in LOCKS
    )
    for others in (cluster, demo, developer):
        assert not {name for name in others if name in own and own[name] != others[name]}
    assert not own.keys() & {
        "pytest",
        "ruff",
        "mypy",
        "playwright",
        "moto",
        "duckdb",
        "polars",
        "prefect-docker",
        "gradio",
    }
    assert cluster.keys() <= developer.keys()
    assert "gradio" not in developer


def test_two_new_processes_can_open_a_new_store_at_once(tmp_path):
    """MLflow's migrations destroy each other when several processes make one sqlite store; ours take turns."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    code = "from stages.tracking.mlflow_runs import open_client; print(len(open_client().search_experiments()))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=180)[0].strip() for process in running] == ["1", "1", "1"]

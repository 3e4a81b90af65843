"""Stages of a small DVC repository, run side by side from one process: locks, limits, outcomes. No Prefect."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from flows.dag import locked_stages, sort_lock
from flows.execution.locks import StoppedError, leased
from flows.execution.stage import Checkout, Outcome, StageError, TimeLimitError, run_stage

pytestmark = pytest.mark.system

PIPELINE = """
stages:
  first:
    cmd: sleep 1 && cat input.txt > first.txt && echo one >> runs.log
    deps: [input.txt]
    outs: [first.txt]
  slow:
    cmd: sleep 2 && cat first.txt > slow.txt
    deps: [first.txt]
    outs: [slow.txt]
  quick:
    cmd: cat first.txt > quick.txt
    deps: [first.txt]
    outs: [quick.txt]
  late:
    cmd: sleep 60 && touch late.txt
    outs: [late.txt]
    meta: {timeout: 3}
  broken:
    cmd: echo something is wrong && exit 3
    outs: [broken.txt]
  greedy:
    cmd: echo $CUDA_VISIBLE_DEVICES > greedy.txt
    outs: [greedy.txt]
    meta: {gpus: 1}
  train:
    foreach: [sketch]
    do:
      cmd: echo $CUDA_VISIBLE_DEVICES > train.txt
      params: [sketch.train]
      outs: [train.txt]
      meta: {gpus: 1}
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.setenv("UNROLL_LEASES", str(tmp_path / "leases"))
    root = tmp_path / "repo"
    root.mkdir()
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "input.txt").write_text("first\n")
    (root / "params.yaml").write_text("sketch: {train: {ranks: 2}}\n")
    (root / ".gitignore").write_text("runs.log\n")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)
    return Checkout(root, stop=threading.Event())


def run(checkout: Checkout, name: str, *, force: bool = False) -> Outcome:
    return run_stage(checkout, name, force=force, on_line=lambda line: None)


def another(checkout: Checkout) -> Checkout:
    """The same folder as another process sees it."""
    return Checkout(checkout.root, stop=threading.Event())


def test_a_stage_runs_once_and_is_restored_from_the_cache(checkout: Checkout) -> None:
    assert run(checkout, "first").kind == "ran"
    assert run(checkout, "first") == Outcome(kind="cached", message="nothing has changed")
    (checkout.root / "first.txt").unlink()
    assert run(checkout, "first") == Outcome(kind="restored", message="output first.txt: missing")
    assert run(checkout, "first", force=True).kind == "ran"
    assert (checkout.root / "runs.log").read_text().splitlines() == ["one", "one"]


def test_two_who_want_the_same_stage_run_it_once(checkout: Checkout) -> None:
    with ThreadPoolExecutor() as pool:
        kinds = pool.map(lambda one: run(one, "first").kind, [checkout, another(checkout)])
    assert sorted(kinds) == ["cached", "ran"]
    assert (checkout.root / "runs.log").read_text().splitlines() == ["one"]


def test_side_by_side_and_dvc_lock_in_order(checkout: Checkout) -> None:
    # The three stages alone, and `dvc repro` without targets: with targets, DVC's order follows PYTHONHASHSEED.
    stages = yaml.safe_load(PIPELINE)["stages"]
    three = {"stages": {name: stages[name] for name in ("first", "slow", "quick")}}
    (checkout.root / "dvc.yaml").write_text(yaml.safe_dump(three, sort_keys=False))
    run(checkout, "first")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: run(checkout, name), ["slow", "quick"]))
    assert locked_stages(checkout.root) == ("first", "quick", "slow")  # as they ended
    sort_lock(checkout.root, before=["first"], order=tuple(checkout.pipeline))
    side_by_side = (checkout.root / "dvc.lock").read_bytes()
    (checkout.root / "dvc.lock").unlink()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=checkout.root, check=True)
    assert side_by_side == (checkout.root / "dvc.lock").read_bytes()


def test_an_output_that_is_read_is_not_replaced(checkout: Checkout) -> None:
    run(checkout, "first")
    ends: dict[str, float] = {}

    def timed(name: str, *, force: bool = False) -> None:
        run(another(checkout), name, force=force)
        ends[name] = time.monotonic()

    reader = threading.Thread(target=timed, args=("slow",))
    reader.start()
    wait = time.monotonic() + 30
    while not _taken(checkout, "slow") and time.monotonic() < wait:
        time.sleep(0.05)
    timed("first", force=True)
    reader.join()
    assert ends["slow"] < ends["first"]


def _taken(checkout: Checkout, name: str) -> bool:
    import fcntl

    with checkout.lock_file(name).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_time_limit(checkout: Checkout) -> None:
    with pytest.raises(TimeLimitError, match="^not finished after 3 s"):
        run(checkout, "late")
    assert not (checkout.root / "late.txt").exists()


def test_a_failure_says_what_the_stage_said(checkout: Checkout) -> None:
    with pytest.raises(StageError, match="something is wrong"):
        run(checkout, "broken")


def test_stopped(checkout: Checkout) -> None:
    threading.Timer(2.0, checkout.stop.set).start()
    with pytest.raises(StoppedError):
        run(checkout, "late")


def test_a_stage_sees_only_the_gpu_that_it_leased(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    with leased(1, stop=threading.Event()) as other:
        assert other.devices == ("GPU-a",)
        run(checkout, "greedy")
    assert (checkout.root / "greedy.txt").read_text() == "GPU-b\n"
    run(checkout, "first", force=True)


def test_a_stage_leases_a_gpu_for_each_of_its_ranks(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    run(checkout, "train@sketch")
    assert (checkout.root / "train.txt").read_text() == "GPU-a,GPU-b\n"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    with pytest.raises(ValueError, match="found 1, but the stage needs 2"):
        run(checkout, "train@sketch", force=True)
    monkeypatch.setenv("UNROLL_RAY", "auto")  # Ray gives them out, maybe on other machines
    run(checkout, "train@sketch", force=True)
    assert (checkout.root / "train.txt").read_text() == "GPU-a\n"


def test_a_lease_outlives_its_asker_only_as_long_as_the_work_does(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    script = (
        "import os, signal, threading\nfrom pathlib import Path\nfrom flows.execution.locks import leased\n"
        "from flows.execution.supervisor import run_supervised\n"
        "with leased(1, stop=threading.Event()) as lease:\n"
        "    command = ['sh', '-c', 'trap \"\" TERM; echo ready; sleep 4']\n"
        "    kill = lambda line: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    run_supervised(command, folder=Path('.'), descriptors=lease.descriptors, on_line=kill)\n"
    )
    asker = subprocess.run([sys.executable, "-c", script], check=False)
    killed = time.monotonic()
    assert asker.returncode == -9
    with leased(1, stop=threading.Event()) as lease:
        assert lease.devices == ("GPU-a",)
    assert 1 < time.monotonic() - killed < 12  # the command went on for a while, and the lease with it


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ValueError, match="found 1, but the stage needs 2"), leased(2, stop=threading.Event()):
        pass
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with leased(2, stop=threading.Event()) as lease:
        assert lease.devices == ()

"""How many threads an answer takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stages.serving import threads
from tests.unit.test_serving import Double, frame


class Counting(Double):
    """Notes torch's threads while it answers."""

    def predict_batch(self, examples, options):
        self.threads = torch.get_num_threads()
        return super().predict_batch(examples, options)


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "processors", lambda: 8)
    monkeypatch.delenv("UNROLL_THREADS", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")


def used(rows: int) -> int:
    predictor = Counting()
    before = torch.get_num_threads()
    predictor.predict(frame(*range(rows)))
    assert torch.get_num_threads() == before
    return predictor.threads


def test_few_rows_take_one_thread_and_many_all_that_there_are() -> None:
    assert used(1) == used(64) == 1
    assert used(65) == 8


def test_threads_that_spin_while_they_wait_are_never_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert used(1000) == 1


def test_the_variable_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_THREADS", "3")
    assert used(1) == used(1000) == 3
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("UNROLL_THREADS", wrong)
        with pytest.raises(ValueError, match=f"UNROLL_THREADS: found '{wrong}'; allowed: a whole number of 1 or more"):
            used(1)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, float("inf")),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}, 2.0),
        ("0::/on/the/host", {"cpu.max": "50000 100000"}, 0.5),
        ("4:memory:/x\n1:cpu:/", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        (
            "2:cpu,cpuacct:/docker/1",
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000", "cpu,cpuacct/cpu.cfs_period_us": "50000"},
            2.0,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ("1:cpuset:/\n0::/", {}, float("inf")),
    ],
)
def test_the_quota_of_control_groups(tmp_path: Path, own: str, files: dict[str, str], expected: float) -> None:
    (tmp_path / "own").write_text(own + "\n")
    for name, content in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    assert threads.quota(tmp_path / "own", tmp_path / "groups") == expected
    assert threads.quota(tmp_path / "none", tmp_path / "groups") == float("inf")


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.5, 1), (2.0, 2), (float("inf"), None)])
def test_processors_are_those_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float, expected: int | None
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(threads, "quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    threads.processors.cache_clear()
    assert threads.processors() == (expected or 3)
    threads.processors.cache_clear()


@pytest.mark.parametrize("first", ["", "import torch; "])
def test_a_server_lets_threads_sleep_where_torch_is_not_loaded_yet(first: str) -> None:
    program = f"{first}import stages.serving.threads, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    asked = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "UNROLL_SERVED": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.strip() == ("None" if first else "PASSIVE")

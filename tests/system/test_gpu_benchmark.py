"""`benchmarks.gpu` runs on a machine without a GPU, and with little more than torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.gpu_data import MAKERS
from benchmarks.gpu_ranks import SIDES
from stages.provenance.imports import ROOT
from tests.unit.test_gpu_benchmark import ALLOWED

# Python reads it in each process, before anything else: what is refused is as if it were not installed.
REFUSING = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        refused = name.partition(".")[0] in {refused!r}
        return None if refused else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


def needed() -> set[str]:
    """The distributions that the allowed ones need, with themselves."""
    found: set[str] = set()
    pending = ["numpy", "pyarrow", "pydantic", "pyyaml", "safetensors", "torch", "tqdm"]
    assert len(pending) == len(ALLOWED)
    while pending:
        name = pending.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        try:
            requirements = [Requirement(text) for text in distribution(name).requires or []]
        except PackageNotFoundError:  # of another platform
            continue
        pending += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


@pytest.mark.slow
def test_it_runs_tiny_on_a_cpu_with_what_it_may_import(tmp_path: Path) -> None:
    kept = needed()
    refused = {
        module
        for module, owners in packages_distributions().items()
        if not any(owner.lower().replace("_", "-") in kept for owner in owners)
    }
    assert refused >= {"av", "babel", "mlflow", "numba", "pandas", "prefect", "sklearn"}
    (tmp_path / "sitecustomize.py").write_text(REFUSING.format(refused=sorted(refused)), encoding="utf-8")
    written = tmp_path / "gpu.json"
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--json", str(written)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads(written.read_text(encoding="utf-8"))
    assert "failed" not in written.read_text(encoding="utf-8"), result.stdout
    assert figures["machine"]["gpu"] == "not on a GPU"
    for task in MAKERS:
        for precision in ("float32", "bfloat16"):
            step = figures[task][f"step, {precision}"]
            assert step["sequences_per_second"] > 0
            assert step["gpu_works_share"] == step["gpu_megabytes"] == "not on a GPU"
            assert figures[task][f"bare loop, {precision}"]["sequences_per_second"] > 0
            assert figures[task][f"LSTM alone, {precision}"]["sequences_per_second"] > 0
        assert f"| {task} | step, bfloat16 |" in result.stdout
    apart = figures["ranks"]["losses apart"]
    assert apart.keys() == SIDES.keys()
    assert apart["one rank, NCCL"] == apart["alone, on the CPU"] == 0.0
    assert 0 <= apart["two ranks, one device, gloo"] < 1e-5

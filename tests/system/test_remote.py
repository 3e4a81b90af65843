"""Stages on workers in other clones: a DVC remote between them, and nothing else."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from stages.recipe import override
from tests.pipeline.conftest import Clone, commit
from tests.unit.http_server import serving

from .conftest import CREDENTIALS
from .house import House, Run, house, stage_processes, wait_until

pytestmark = [pytest.mark.system, pytest.mark.slow]


@dataclass
class Far:
    """A house whose pool `far` has workers in two clones of their own."""

    house: House
    clones: list[Path]
    workers: list[subprocess.Popen[bytes]]

    def start(self, **options: Any) -> Run:
        common = {"tasks": ["forecast"], "where": "pool", "pool": "far"}
        return self.house.start("pipeline/pipeline", options=common | options)

    def ordered(self, by: Run, stage: str) -> list[Run]:
        """The flow runs that a run has ordered for a stage, the oldest first."""
        named = {"flow_runs": {"name": {"any_": [f"{stage} on far"]}}, "sort": "START_TIME_ASC"}
        found = self.house.post("flow_runs/filter", named)
        return [Run(self.house, run["id"]) for run in found if run["parameters"]["order"]["coordinator"] == by.id]

    def working(self) -> list[psutil.Process]:
        """The processes of stages in the workers' clones."""
        return [process for clone in self.clones for process in stage_processes(clone)]


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, s3: str) -> Iterator[Far]:
    folder = tmp_path_factory.mktemp("far")
    patch = pytest.MonkeyPatch()
    for name, value in CREDENTIALS.items():
        patch.setenv(name, value)
    template = ["--base-job-template", "flows/pools/process.json"]
    shared = {"UNROLL_RESUME": str(folder / "resume"), "UNROLL_CHECKPOINT_SECONDS": "1"}
    with house(folder / "coordinator", lambda clone: add_remote(clone, "s3://store/dvc", endpointurl=s3)) as built:
        built.prefect("work-pool", "create", "far", "--type", "process", *template)
        built.prefect("deploy", "flows.execution.remote:stage", "--name", "far", "--pool", "far")
        clones, workers = [folder / "one", folder / "two"], []
        for clone in clones:
            built.clone.run("git", "clone", "--quiet", str(built.clone.folder), str(clone))
            workers.append(built.worker("far", clone, **shared))
        yield Far(built, clones, workers)
    patch.undo()


def add_remote(clone: Clone, url: str, **options: str) -> None:
    clone.run("dvc", "remote", "add", "--force", "--default", "store", url)
    for name, value in options.items():
        clone.run("dvc", "remote", "modify", "store", name, value)


def test_stages_run_in_other_clones_and_their_results_come_back(far: Far) -> None:
    clone = far.house.clone
    run = far.start(up_to="train")
    assert run.wait(seconds=400) == "COMPLETED", run.message()
    stages = [f"{verb}@forecast" for verb in ("download", "preprocess", "train")]
    assert run.tasks() == dict.fromkeys(stages, "Completed")
    assert [order.state() for order in far.ordered(run, "train@forecast")] == ["COMPLETED"]
    assert clone.run("git", "status", "--porcelain").split() == ["??", "dvc.lock"]
    assert clone.repro("train@forecast") == []  # all is there, as if it had run here
    assert (clone.folder / "weights" / "forecast" / "served" / "weights.safetensors").is_file()
    lock = (clone.folder / "dvc.lock").read_bytes()
    (clone.folder / "dvc.lock").unlink()
    clone.run("dvc", "repro", "--force", "train@forecast")
    assert lock == (clone.folder / "dvc.lock").read_bytes()
    for other in far.clones:
        assert subprocess.check_output(["git", "-C", other, "status", "--porcelain"]) == b""


def test_a_source_that_was_refreshed_and_not_committed_is_learned_on_a_worker(far: Far) -> None:
    clone = far.house.clone
    commit(clone)
    sample = Path(str(find_spec("vega_datasets").submodule_search_locations[0]), "_data/seattle-weather.csv")  # type: ignore[union-attr, index]
    lines = sample.read_bytes().splitlines(keepends=True)
    with serving() as host:
        file = host.put("/s.csv", b"".join(lines[:-30]))
        override(["forecast.source.kind=csv", f"forecast.source.url={host.url}/s.csv"], clone.folder / "params.yaml")
        clone.run(sys.executable, "-m", "stages.refresh", "forecast")
        shutil.rmtree(clone.folder / ".fetched")
        file.content, file.etag = b"".join(lines), '"second"'  # the worker takes what is pinned
        run = far.start(up_to="train")
        assert run.wait(seconds=400) == "COMPLETED", run.message()
        assert [order.state() for order in far.ordered(run, "download@forecast")] == ["COMPLETED"]
    changed = {*clone.run("git", "status", "--porcelain").split()[1::2]} - {"dvc.lock"}
    assert changed == {"params.yaml", "sources/forecast.json"}
    assert (clone.folder / "data/forecast/raw/series.csv").read_bytes() == b"".join(lines[:-30])
    assert clone.repro("train@forecast") == []
    clone.run("git", "checkout", "--quiet", "--", ".")


def test_a_dead_worker_is_replaced_and_the_training_goes_on(far: Far) -> None:
    commit(far.house.clone)
    overrides = [f"forecast.train.{key}" for key in ("epochs=120", "patience=120", "seed=7")]
    run = far.start(up_to="train", overrides=overrides)
    saved = far.clones[0].parent / "resume"
    wait_until(lambda: list(saved.glob("*/checkpoint.safetensors")), "a saved training", seconds=200)
    victim = next(w for w, c in zip(far.workers, far.clones, strict=True) if stage_processes(c))
    since = time.monotonic()
    victim.send_signal(signal.SIGKILL)
    assert run.wait(seconds=400) == "COMPLETED", run.message()
    orders = far.ordered(run, "train@forecast")
    assert [order.state() for order in orders] == ["CRASHED", "COMPLETED"]
    assert "resuming after step" in orders[1].logs()
    assert time.monotonic() - since < 300


def test_a_killed_coordinator_ends_the_stage_elsewhere(far: Far) -> None:
    overrides = [f"forecast.train.{key}" for key in ("epochs=2000", "patience=2000", "seed=8")]
    run = far.start(up_to="train", overrides=overrides)
    wait_until(lambda: [p for p in far.working() if "stages.train" in " ".join(p.cmdline())], "a training", seconds=200)
    run.process().kill()
    wait_until(lambda: not far.working(), "no process of the stage", seconds=15)
    assert run.wait() == "CRASHED"


def test_code_that_is_not_committed_is_refused(far: Far) -> None:
    (far.house.clone.folder / "stages" / "new.py").write_text('"""New."""\n')
    try:
        run = far.start(up_to="train", force=True)
        assert run.wait() == "FAILED"
        assert "commit first: stages/new.py" in run.message()
    finally:
        (far.house.clone.folder / "stages" / "new.py").unlink()


def test_a_plain_folder_serves_as_well(far: Far, tmp_path: Path) -> None:
    add_remote(far.house.clone, str(tmp_path / "store"))
    commit(far.house.clone)
    run = far.start(up_to="download", force=True)
    assert run.wait(seconds=200) == "COMPLETED", run.message()
    assert run.tasks() == {"download@forecast": "Completed"}
    assert list((tmp_path / "store").rglob("*"))

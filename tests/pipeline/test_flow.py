"""The flow over the stages, side by side, beside the serial `dvc repro`."""

from __future__ import annotations

import pytest
import yaml

from stages.tasks.protocol import Task

from .conftest import Clone

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize("tasks", [["sketch", "drawing"], pytest.param(Task.names(), marks=pytest.mark.slow)])
def test_a_flow_leaves_the_dvc_lock_of_a_serial_repro(
    tasks: list[str], finished: tuple[Clone, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    serial, ran = finished
    stages = [stage for stage in ran if stage.partition("@")[2] in tasks]
    clone = Clone(tmp_path_factory.mktemp("side_by_side") / "clone")
    serial.run("git", "clone", "--quiet", str(serial.folder), str(clone.folder))
    lock = clone.folder / "dvc.lock"
    expected = yaml.safe_load(lock.read_text(encoding="utf-8"))
    expected["stages"] = {stage: entry for stage, entry in expected["stages"].items() if stage in stages}
    lock.unlink()
    # With the run cache of the serial run: each stage is still laid out by a process of its own, in any order.
    clone.run("dvc", "cache", "dir", "--local", str(serial.folder / ".dvc" / "cache"))
    printed = clone.run("python", "-m", "flows.run", "--where", "here", "--parallel", "4", *tasks)
    assert f"{len(stages)} stages: {len(stages)} Restored" in printed
    assert lock.read_text(encoding="utf-8") == written(expected)
    assert clone.repro(*stages) == []
    again = clone.run("python", "-m", "flows.run", "--where", "here", *tasks)
    assert f"{len(stages)} stages: {len(stages)} Cached" in again


def written(lock: dict[str, object]) -> str:
    """As DVC writes it."""
    from dvc.utils.serialize import dumps_yaml

    return str(dumps_yaml(lock))

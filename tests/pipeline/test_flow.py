"""The flow over all stages, side by side, beside the serial `dvc repro`."""

from __future__ import annotations

import pytest

from .conftest import Clone

pytestmark = pytest.mark.pipeline


def test_a_flow_leaves_the_dvc_lock_of_a_serial_repro(
    finished: tuple[Clone, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    serial, ran = finished
    clone = Clone(tmp_path_factory.mktemp("side_by_side") / "clone")
    serial.run("git", "clone", "--quiet", str(serial.folder), str(clone.folder))
    expected = (clone.folder / "dvc.lock").read_bytes()
    (clone.folder / "dvc.lock").unlink()
    # With the run cache of the serial run: each stage is still laid out by a process of its own, in any order.
    clone.run("dvc", "cache", "dir", "--local", str(serial.folder / ".dvc" / "cache"))
    printed = clone.run("python", "-m", "flows.run", "--where", "here", "--parallel", "4")
    assert f"{len(ran)} stages: {len(ran)} Restored" in printed
    assert (clone.folder / "dvc.lock").read_bytes() == expected
    assert clone.repro() == []
    again = clone.run("python", "-m", "flows.run", "--where", "here")
    assert f"{len(ran)} stages: {len(ran)} Cached" in again

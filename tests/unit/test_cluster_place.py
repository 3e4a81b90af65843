"""Work for nodes that do not share the sender's folder: what is brought there, and what comes back."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.cluster import arrival, mapping, outputs, place, remote
from stages.cluster.arrival import Place
from stages.cluster.connection import ClusterError

real_ray = pytest.importorskip("ray")
DVC = Path(sys.executable).with_name("dvc")


class StandIn:
    """As much of the module `ray` as is used; nothing is sent anywhere."""

    cloudpickle = real_ray.cloudpickle

    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: (node, soft))
    )

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "NodeID": "a"}]

    def remote(self, **options: Any) -> Any:
        return lambda function: SimpleNamespace(remote=lambda *markers: function(*markers) and self._shared)

    def get(self, value: Any) -> Any:
        return value

    def put(self, value: Any) -> Any:
        return value


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with raw files and a DVC remote; this process's folder, path and variables are as before at the end."""
    project = tmp_path / "project"
    (project / "data/raw/clips").mkdir(parents=True)
    for name in "ab":
        (project / f"data/raw/clips/{name}.mp4").write_text(name)
    (project / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(project)
    monkeypatch.setenv("UNROLL_RAY", "head:6379")
    monkeypatch.setenv("UNROLL_RESUME", str(project / ".resume"))
    monkeypatch.setenv("UNROLL_NODE_FOLDER", str(tmp_path / "node"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "ray", StandIn(shared=False))
    environment = dict(os.environ)
    for command in ("init --no-scm --quiet", f"remote add --quiet --default store {tmp_path / 'store'}"):
        subprocess.run([DVC, *command.split()], check=True)
    monkeypatch.setattr(remote, "_WAIT", 0)
    remote._remote.cache_clear()
    yield project
    place._roots.clear()
    for file in place._held.values():
        file.close()
    place._held.clear()
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]


def as_elsewhere(here: Place) -> Place:
    """The same, as a node has it that sees none of the sender's files."""
    return Place(**{**here, "markers": ["/nowhere"], "resume_marker": "/nowhere"})


def length_and_part(parts: Path, folder: Path, name: str) -> tuple[int, str]:
    """A stage's function: of a file below a folder, keeping a part."""
    parts.mkdir(parents=True, exist_ok=True)
    (parts / "kept.arrow").write_text(name)
    assert [path.name for path in folder.iterdir()] == [name]  # no other was brought
    return len((folder / name).read_bytes()), Path("params.yaml").read_text()


def test_an_item_brings_its_own_file_alone_and_its_parts_come_back(project: Path, tmp_path: Path) -> None:
    function = partial(length_and_part, project / ".resume/prepared", Path("data/raw/clips"))
    with place.opened(StandIn(shared=False)) as here:
        content, paths = place.packed(function)
        files = remote.Cargo().files(paths, "b.mp4")
        assert files == [("data/raw/clips/b.mp4", hashlib.md5(b"b").hexdigest())]
        (project / "data").rename(tmp_path / "out-of-reach")
        result, parts = mapping.work_on(as_elsewhere(here), content, place.packed((place.packed("b.mp4")[0], files))[0])
    assert result == (1, "seed: 1\n")
    assert parts == {"prepared/kept.arrow": b"b.mp4"}
    assert "UNROLL_RAY" not in os.environ  # what runs there does its work there
    assert Path.cwd() == tmp_path / "node/runs" / here["run"]
    assert not list((project / ".resume").rglob("*.arrow"))


def test_a_node_that_shares_the_folder_works_in_it(project: Path, tmp_path: Path, monkeypatch: Any) -> None:
    with place.opened(StandIn(shared=True)) as here:
        assert here["code"] is None
        monkeypatch.chdir(tmp_path)
        assert place.enter(here)
        assert Path.cwd() == project
        assert place.path_here(str(project / "x")) == project / "x"
        assert place.own_resume() is None
    assert not list(project.rglob("cluster.*"))
    with pytest.raises(
        RuntimeError, match=r"joined the cluster after .* does not share the folder .*/project, as the other nodes do"
    ):
        arrival._bring_code(here)


def test_a_resume_folder_that_cannot_be_written_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "file").touch()
    monkeypatch.setenv("UNROLL_RESUME", str(project / "file" / "resume"))
    with pytest.raises(ClusterError, match=r"/file/resume: Not a directory; allowed: a folder"):
        place.opened(StandIn(shared=True)).__enter__()
    assert not list(project.rglob("cluster.*"))


def test_what_killed_runs_left_goes_a_day_later(project: Path) -> None:
    (project / ".resume").mkdir(exist_ok=True)
    old, new, others = (project / ".resume" / f"cluster.{name}" for name in ("0" * 32, "1" * 32, "yaml"))
    for path in (old, new, others):
        path.touch()
    for path in (old, others):
        os.utime(path, (1, 1))
    with place.opened(StandIn(shared=True)):
        assert not old.exists()
    assert new.exists()
    assert others.exists()  # as the file that Ray's launcher reads may be called


def test_a_run_of_days_keeps_its_markers(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_TOUCH_SECONDS", 0.01)
    with place.opened(StandIn(shared=True)):
        (marker,) = project.rglob("cluster.*")
        os.utime(marker, (1, 1))
        deadline = time.monotonic() + 10
        while marker.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        with place.opened(StandIn(shared=True)):
            assert marker.exists()


def test_the_code_is_unpacked_once_for_all_runs(project: Path, tmp_path: Path) -> None:
    with place.opened(StandIn(shared=False)) as here:
        arrival._bring_code(as_elsewhere(here))
        (folder,) = (tmp_path / "node/code").glob("*/")
        assert sys.path[0] == str(folder)
        assert (folder / "stages/cluster/place.py").read_bytes() == Path(place.__file__).read_bytes()
        assert not list(folder.rglob("__pycache__"))
        os.utime(folder / "stages", (1, 1))
        arrival._bring_code(as_elsewhere(here))
        assert (folder / "stages").stat().st_mtime == 1
    assert (tmp_path / "node").stat().st_mode & 0o777 == 0o700  # code, and the remote's passwords


def test_runs_that_are_over_go_and_the_data_stays(project: Path, tmp_path: Path) -> None:
    for number in range(2):
        with place.opened(StandIn(shared=False)) as here:
            files = remote.Cargo().files([project / "data"])
            elsewhere = as_elsewhere(here)
            assert not place.enter(elsewhere)
            if number:
                shutil.rmtree(tmp_path / "store")  # it needs nothing more of the remote
            remote.fetch(tmp_path / "node", files)
            assert Path("data/raw/clips/a.mp4").read_text() == "a"
            assert [path.name for path in (tmp_path / "node/runs").iterdir()] == [here["run"]]
        place._held.popitem()[1].close()  # the process has ended
        os.chdir(project)


def test_a_damaged_file_of_the_remote_is_named(project: Path, tmp_path: Path) -> None:
    with place.opened(StandIn(shared=False)) as here:
        files = remote.Cargo().files([Path("data/raw/clips/a.mp4")])
        stored = tmp_path / "store/files/md5" / files[0].md5[:2] / files[0].md5[2:]
        stored.chmod(0o644)
        stored.write_text("x")
        place.enter(as_elsewhere(here))
        found = hashlib.md5(b"x").hexdigest()
        with pytest.raises(
            RuntimeError, match=rf"node .*: data/raw/clips/a.mp4: DVC's remote has a file with md5 {found} under"
        ):
            remote.fetch(tmp_path / "node", files)
        stored.unlink()
        with pytest.raises(RuntimeError, match=r"data/raw/clips/a.mp4 and 0 more cannot be fetched from DVC's remote"):
            remote.fetch(tmp_path / "node", files)
        assert not [path for path in (tmp_path / "node/files").rglob("*") if path.suffix == ".partial"]


def test_files_beyond_the_bound_go(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 1)
    with place.opened(StandIn(shared=False)) as here:
        files = remote.Cargo().files([Path("data/raw/clips")])
        place.enter(as_elsewhere(here))
        remote.fetch(tmp_path / "node", files)
        assert len(list((tmp_path / "node/files").glob("??/*"))) == 1
        assert sorted(path.name for path in Path("data/raw/clips").iterdir()) == ["a.mp4", "b.mp4"]


def test_without_a_remote_one_line_says_what_to_do(project: Path) -> None:
    subprocess.run([DVC, "remote", "remove", "store"], check=True)
    with pytest.raises(
        ClusterError, match="no DVC remote to send data/raw there; run `dvc remote add --default NAME URL`"
    ):
        remote.Cargo().files([Path("data/raw")])


def test_outputs_come_back_in_pieces(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "_PIECE", 1000)
    monkeypatch.setattr(outputs, "_POLL", 0)
    mailbox = arrival.Mailbox()
    with outputs.Received() as received:

        def offer(offset: int, piece: bytes) -> bool:
            if mailbox.offer(offset, piece):
                return True
            for taken in mailbox.news()[1]:  # as the other end does meanwhile
                received.write(*taken)
            return False

        received.write(0, b"what a rank has sent that died")
        (project / "weights").mkdir()
        (project / "weights/w").write_bytes(b"w" * 9000)
        (project / "metrics.json").write_text("{}")
        outputs.send([Path("weights"), Path("metrics.json"), Path("absent")], offer)
        for piece in mailbox.news()[1]:
            received.write(*piece)
        shutil.rmtree(project / "weights")
        (project / "weights").mkdir()
        (project / "weights/old").touch()
        (project / "metrics.json").unlink()
        received.lay()
    assert [path.name for path in (project / "weights").iterdir()] == ["w"]
    assert (project / "weights/w").read_bytes() == b"w" * 9000
    assert (project / "metrics.json").read_text() == "{}"

"""A preparation that finds parts from before writes what one that finds nothing does, to the byte."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.preprocessing import kept_parts
from stages.preprocessing.kept_parts import KeptParts
from stages.preprocessing.preparation import Preparation
from stages.preprocessing.profile import profile_of
from stages.provenance.imports import deciding
from stages.tasks.protocol import Task
from stages.tasks.sketch.prepare import prepare as sketch
from stages.tasks.video.data.decode import Clip, ClipError
from stages.tasks.video.params import PrepareParams
from stages.tasks.video.prepare import prepare as video
from stages.tasks.video.prepare.kept_clips import from_table, read_or_find, to_table
from tests.unit import sketch_files
from tests.unit.repositories import commit_all, git
from tests.unit.test_video_prepare import PARAMS
from tests.unit.video_clips import write_clip


@dataclass(frozen=True)
class Case:
    """A task: raw files, and changes of them and of the params; how many parts there are, and are kept after each."""

    task: str
    module: ModuleType
    make: Callable[[Path], object]
    prepare: Callable[..., Preparation]
    add: Callable[[Path], object]
    remove: Callable[[Path], object]
    change: Callable[[Path], object]
    param: dict[str, Any]
    unit: str
    parts: int
    twice: int = 0  # parts that are found as they come again
    retried: int = 0  # parts that are refused for what may be the machine's fault


def _make_clips(raw: Path) -> None:
    for number in range(1, 6):
        for label, level in (("Dark", 10), ("Light", 200)):
            write_clip(raw / "clips" / label / f"v_{label}_g{number:02d}_c01.mp4", level, frames=6 + number)
    write_clip(raw / "clips/Dark/v_Dark_g02_c02.mp4", 10, frames=3)  # too short
    whole = (raw / "clips/Light/v_Light_g03_c01.mp4").read_bytes()
    (raw / "clips/Light/v_Light_g03_c02.mp4").write_bytes(whole)  # the same twice
    (raw / "clips/Light/v_Light_g04_c02.mp4").write_bytes(b"no film")


def _prepare_clips(raw: Path, folder: Path, **changes: Any) -> Preparation:
    with Preparation(folder, max_rejected_share=1.0) as output:
        video.prepare(raw, PrepareParams.model_validate({**PARAMS, **changes}), output)
    return output


def _make_drawings(raw: Path) -> None:
    sketch_files.two_files(raw)
    sketch_files.make_dirty(raw)


CASES = {
    "sketch": Case(
        task="sketch",
        module=sketch,
        make=_make_drawings,
        prepare=sketch_files.prepared,
        add=lambda raw: sketch_files.write(raw, "ant", [sketch_files.record(n, "ant") for n in range(50, 99)]),
        remove=lambda raw: (raw / "simplified/cat.ndjson").unlink(),
        change=lambda raw: sketch_files.write(raw, "cat", [sketch_files.record(n) for n in range(5, 45)]),
        param={"max_points": 49},
        unit="chunks",
        parts=4,
    ),
    "video": Case(
        task="video",
        module=video,
        make=_make_clips,
        prepare=_prepare_clips,
        add=lambda raw: write_clip(raw / "clips/Dark/v_Dark_g06_c01.mp4", 30),
        remove=lambda raw: (raw / "clips/Dark/v_Dark_g01_c01.mp4").unlink(),
        change=lambda raw: write_clip(raw / "clips/Dark/v_Dark_g01_c01.mp4", 30),
        param={"min_frames": 5},
        unit="clips",
        parts=13,
        twice=1,
        retried=1,
    ),
}


def everything(case: Case, raw: Path, folder: Path, **changes: Any) -> tuple[Any, str]:
    """All that a preparation writes and says, and how much of it was kept."""
    output = case.prepare(raw, folder, **changes)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    profile = profile_of(Task(case.task).profile().learned(folder), output.metrics())
    return (files, output.metrics(), output.summary(case.task, "x"), json.dumps(profile)), output.kept


def here(function: Callable[[Any], Any], items: Iterable[Any], *, processes: int) -> Iterator[tuple[Any, Any]]:
    """`ordered_map` without the seconds that processes take to start."""
    return ((item, function(item)) for item in items)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    found = CASES[request.param]
    found.make(tmp_path / "raw")
    monkeypatch.setattr(video, "ordered_map", here)
    return found


def check(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, *, kept: int, of: int, **changes: Any) -> None:
    """What is prepared with the parts from before is what is prepared without, and so many parts were found."""
    found, words = everything(case, folder / "raw", folder / "found", **changes)
    assert words == f"{kept} of {of} {case.unit} reused from earlier preparations"
    monkeypatch.setenv("UNROLL_RESUME", str(folder / "nothing"))
    anew, words = everything(case, folder / "raw", folder / "anew", **changes)
    assert words.startswith(f"{case.twice} of {of}")
    assert found == anew


def kept_files(folder: Path) -> list[Path]:
    return sorted((folder / "resume/prepared").glob("*/*"))


def test_all_is_found_where_nothing_has_changed(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything(case, tmp_path / "raw", tmp_path / "first")
    check(case, tmp_path, monkeypatch, kept=case.parts - case.retried, of=case.parts)


@pytest.mark.parametrize(("event", "lost", "more"), [("add", 0, 1), ("remove", 1, -1), ("change", 1, 0)])
def test_what_is_new_is_prepared(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str, lost: int, more: int
) -> None:
    everything(case, tmp_path / "raw", tmp_path / "first")
    getattr(case, event)(tmp_path / "raw")
    check(case, tmp_path, monkeypatch, kept=case.parts - case.retried - lost, of=case.parts + more)


def test_another_param_prepares_all(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything(case, tmp_path / "raw", tmp_path / "first")
    check(case, tmp_path, monkeypatch, kept=case.twice, of=case.parts, **case.param)


def test_a_param_that_decides_no_part_prepares_none(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(case, tmp_path / "raw", tmp_path / "first")
    check(case, tmp_path, monkeypatch, kept=case.parts - case.retried, of=case.parts, max_rejected_share=0.5)


@pytest.mark.parametrize("what", ["code_md5", "version"])
def test_other_code_and_other_libraries_prepare_all(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    everything(case, tmp_path / "raw", tmp_path / "first")
    monkeypatch.setattr(kept_parts, what, lambda name: "other")
    check(case, tmp_path, monkeypatch, kept=case.twice, of=case.parts)


def test_the_folder_may_be_deleted(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything(case, tmp_path / "raw", tmp_path / "first")
    shutil.rmtree(tmp_path / "resume/prepared")
    check(case, tmp_path, monkeypatch, kept=case.twice, of=case.parts)


def test_what_is_damaged_is_dropped_told_and_prepared_anew(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    everything(case, tmp_path / "raw", tmp_path / "first")
    files = kept_files(tmp_path)
    sound = [path.read_bytes() for path in files]
    flipped, cut, empty = files[:3]
    flipped.write_bytes(sound[0][:200] + bytes([sound[0][200] ^ 1]) + sound[0][201:])
    cut.write_bytes(sound[1][:-1])
    empty.write_bytes(b"")
    capsys.readouterr()
    found, words = everything(case, tmp_path / "raw", tmp_path / "found")
    lines = capsys.readouterr().err.splitlines()
    assert sorted(line.split(" is damaged")[0] for line in lines) == [f"unroll: {path}" for path in files[:3]]
    assert [path.read_bytes() for path in kept_files(tmp_path)] == sound
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "nothing"))
    assert found == everything(case, tmp_path / "raw", tmp_path / "anew")[0]
    assert int(words.split()[0]) in (case.parts - case.retried - 3, case.parts - case.retried - 3 + case.twice)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_write_the_same_bytes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    monkeypatch.setattr(sketch, "_BYTES_PER_PROCESS", 2000)
    case.make(tmp_path / "raw")

    def prepared(folder: str, *, processes: int) -> tuple[Any, str]:
        with monkeypatch.context() as patch:
            patch.setattr(case.module, "cores", lambda: processes)
            if processes == 1:
                patch.setattr(video, "ordered_map", here)
            return everything(case, tmp_path / "raw", tmp_path / folder)

    prepared("first", processes=1)
    case.add(tmp_path / "raw")
    found, words = prepared("found", processes=2)
    assert words.startswith(f"{case.parts - case.retried} of {case.parts + 1} ")
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "nothing"))
    assert found == prepared("anew", processes=1)[0]


KILLED = """
import os, signal, sys
from pathlib import Path
from stages.preprocessing.kept_parts import KeptParts
from stages.tasks.video.prepare import prepare
from tests.unit.test_kept_parts import _prepare_clips, here

keep, kept = KeptParts.keep, []

def keep_and_die(*arguments):
    keep(*arguments)
    kept.append(1)
    if len(kept) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

KeptParts.keep = keep_and_die
prepare.ordered_map = here
_prepare_clips(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_preparation_of_clips_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of drawings: test_sketch_chunks.py."""
    case = CASES["video"]
    case.make(tmp_path / "raw")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "raw"), str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    assert subprocess.run(command, env=environment, cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    monkeypatch.setattr(video, "ordered_map", here)
    check(case, tmp_path, monkeypatch, kept=5 + case.twice, of=case.parts)


def test_the_code_of_a_part_is_what_makes_it_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def noted(modules: list[str]) -> str:
        asked.append({path.as_posix() for module in modules for path in deciding(module)})
        return "code"

    monkeypatch.setattr(kept_parts, "code_md5", noted)
    sketch_files.prepared(sketch_files.two_files(tmp_path / "drawings"), tmp_path / "sketch")
    plain = PrepareParams.model_validate(PARAMS)
    encoded = PrepareParams.model_validate({**PARAMS, "encoder": "efficientnet_lite0", "color": "rgb"})
    (tmp_path / "weights").write_bytes(b"any")
    for params in (plain, encoded):
        video._reading(tmp_path, params, tmp_path / "weights")
    drawings, clips, features = asked
    task = "stages/tasks/sketch"
    names = ("canonical", "npz", "parse", "quickdraw", "scan", "simplify", "strokes")
    assert {*(f"{task}/data/{name}.py" for name in names), f"{task}/prepare/chunks.py"} <= drawings
    assert {"stages/data/text.py", "stages/preprocessing/groups.py"} <= drawings
    task = "stages/tasks/video"
    decoding = {f"{task}/data/decode.py", f"{task}/prepare/kept_clips.py"}
    encoding = {f"{task}/data/{name}.py" for name in ("efficientnet", "encode")}
    assert decoding <= clips
    assert not encoding & clips
    assert decoding | encoding <= features
    for code in asked:
        assert not {path for path in code if path.endswith(("/dedup.py", "/prepare.py", "/profile.py", "/splits.py"))}
        assert "stages/preprocessing/kept_parts.py" not in code


def test_other_weights_and_mirrored_clips_are_other_parts(tmp_path: Path) -> None:
    def way(weights: bytes, **changes: Any) -> str:
        (tmp_path / "weights").write_bytes(weights)
        block = {**PARAMS, "encoder": "efficientnet_lite0", "color": "rgb", **changes}
        return video._reading(tmp_path, PrepareParams.model_validate(block), tmp_path / "weights")[0].way

    ways = [way(b"any"), way(b"other"), way(b"any", mirrored=True), way(b"any", size=28), way(b"any", frames=9)]
    assert len(set(ways)) == len(ways)
    assert way(b"any", seed=2, split="ucf101_1", group="", test_share=0.3) == ways[0]


def test_a_clip_comes_back_as_it_was() -> None:
    features = {"features": np.arange(6, dtype=np.float16).reshape(2, 3)}
    frames = np.random.default_rng(1).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    for clip in (Clip(frames, ("damaged", "shortened"), features), Clip(frames)):
        back = from_table(to_table(clip))
        assert isinstance(back, Clip)
        assert (back.repairs, list(back.features)) == (clip.repairs, list(clip.features))
        for one, other in zip((back.frames, *back.features.values()), (frames, *clip.features.values()), strict=True):
            assert np.array_equal(one, other)
            assert one.dtype == other.dtype
    error = from_table(to_table(ClipError("too_short", "3 frames é \udce9")))
    assert isinstance(error, ClipError)
    assert (error.rule, str(error)) == ("too_short", "3 frames é \udce9")


def test_a_clip_of_another_ending_is_read_itself(tmp_path: Path) -> None:
    """FFmpeg looks at it when it guesses a format."""
    for name in ("a.mp4", "b.mp4", "c.avi"):
        (tmp_path / name).write_bytes(b"the same")
    parts, read = KeptParts(tmp_path / "parts", "way"), lambda name: ClipError("no_video", name)
    found = [read_or_find(parts, tmp_path, read, name) for name in ("a.mp4", "b.mp4", "c.avi", "gone.mp4")]
    assert [(str(clip), kept) for clip, kept in found] == [
        ("a.mp4", False),
        ("a.mp4", True),
        ("c.avi", False),
        ("gone.mp4", False),
    ]


def test_the_least_recently_used_parts_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "parts"
    parts = KeptParts(folder, "way")
    keys = [parts.key(str(number)) for number in range(4)]
    for number, key in enumerate(keys):
        parts.keep(key, pa.table({"values": [number]}))
        (path,) = folder.glob(f"*/{key}.arrow")
        os.utime(path, (1000 + number, 1000 + number))
    found = parts.find(keys[0])
    assert found is not None
    assert found["values"].to_pylist() == [0]
    left = folder / "a" / "of-a-killed-process.partial"
    left.parent.mkdir(exist_ok=True)
    left.touch()
    monkeypatch.setattr(kept_parts, "MAX_BYTES", 2 * path.stat().st_size)
    parts.prune()
    assert [parts.holds(key) for key in keys] == [True, False, False, True]
    assert left.exists()
    os.utime(left, (1000, 1000))
    parts.prune()
    assert not left.exists()
    shutil.rmtree(folder)
    parts.prune()


def test_nothing_half_written_has_a_parts_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "parts"
    parts = KeptParts(folder, "way")

    def full(*arguments: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    for content in ("one", "other"):
        parts.keep(parts.key(content), pa.table({"values": [1]}))
    told = f"unroll: {folder}: parts are not kept (No space left on device); the next preparation makes them again\n"
    assert capsys.readouterr().err == told  # once

    def interrupted(*arguments: Any) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parts.keep(parts.key("content"), pa.table({"values": [1]}))
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    monkeypatch.setattr(Path, "is_dir", lambda path: True)
    parts = KeptParts(tmp_path / "deleted meanwhile", "way")
    parts.keep(parts.key("content"), pa.table({"values": [1]}))
    assert not (tmp_path / "deleted meanwhile").exists()


@pytest.mark.parametrize("place", ["resume", "resume/prepared"])
def test_a_file_where_the_folder_belongs_is_told_and_all_is_prepared(
    case: Case, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = everything(case, tmp_path / "raw", tmp_path / "before")
    shutil.rmtree(tmp_path / "resume")
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    capsys.readouterr()
    monkeypatch.setattr(sketch, "_BYTES_PER_PROCESS", 2000)
    monkeypatch.setattr(sketch, "cores", lambda: 2)
    found, words = everything(case, tmp_path / "raw", tmp_path / "found")
    assert found == before
    assert words.startswith(f"0 of {case.parts} ")
    folder = tmp_path / "resume/prepared"
    fault = (
        f"unroll: {folder}: found {file}, a file; allowed: a folder; everything is prepared again, and nothing is kept"
    )
    assert capsys.readouterr().err.splitlines() == [fault]
    assert file.read_text() == "mine"


def test_a_part_that_may_not_be_looked_at_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert not KeptParts(tmp_path, "way").holds("a" * 64)


def test_a_file_where_a_parts_folder_belongs_is_told_once(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = everything(case, tmp_path / "raw", tmp_path / "before")
    shutil.rmtree(tmp_path / "resume/prepared")
    (tmp_path / "resume/prepared").mkdir()
    for digit in "0123456789abcdef":
        (tmp_path / "resume/prepared" / digit).touch()
    capsys.readouterr()
    assert everything(case, tmp_path / "raw", tmp_path / "found")[0] == before
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"unroll: {tmp_path}/resume/prepared: parts are not kept (")


def test_worktrees_share_what_was_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNROLL_RESUME")
    main = tmp_path / "main"
    main.mkdir()
    (main / "file").touch()
    commit_all(main)
    git(main, "worktree", "add", "--quiet", "../tree")
    monkeypatch.chdir(tmp_path / "tree")
    parts = KeptParts.made_by([], libraries=[], facts={})
    assert parts.folder == main / ".resume/prepared"

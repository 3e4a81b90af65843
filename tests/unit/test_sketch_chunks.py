"""The work on files in chunks, by any number of processes, killed or not: the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.tasks.sketch.data import quickdraw
from stages.tasks.sketch.prepare import chunks, dedup
from stages.tasks.sketch.prepare import prepare as module
from tests.unit.sketch_files import closing_line, make_dirty, prepared, run, stored, two_files


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return two_files(tmp_path / "raw")


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it has the next preparation find no prepared chunks."""
    folders = (tmp_path / f"resume {number}" for number in count())
    return lambda: monkeypatch.setenv("UNROLL_RESUME", str(next(folders)))


def test_equal_input_gives_equal_bytes(raw: Path, tmp_path: Path, anew: Callable[[], None]) -> None:
    make_dirty(raw)
    run(raw, tmp_path / "one")
    anew()
    run(raw, tmp_path / "two")
    assert stored(tmp_path / "one") == stored(tmp_path / "two")


@pytest.mark.parametrize("size", [50, 1000])
def test_the_chunks_that_files_are_read_in_change_no_byte(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    make_dirty(raw)
    run(raw, tmp_path / "whole")
    monkeypatch.setattr(quickdraw, "CHUNK_BYTES", size)
    run(raw, tmp_path / "chunks")
    assert stored(tmp_path / "chunks") == stored(tmp_path / "whole")


def test_the_number_of_processes_changes_no_byte(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: Callable[[], None]
) -> None:
    make_dirty(raw)
    line = closing_line(raw, tmp_path / "one")
    anew()
    monkeypatch.setattr(quickdraw, "CHUNK_BYTES", 2000)
    monkeypatch.setattr(module, "_BYTES_PER_PROCESS", 2000)
    monkeypatch.setattr(module, "cores", lambda: 2)
    started: list[int] = []
    in_processes = module.ordered_map

    def counted(*arguments: Any, processes: int, join_in: bool) -> Any:
        started.append(processes)
        return in_processes(*arguments, processes=processes, join_in=join_in)

    monkeypatch.setattr(module, "ordered_map", counted)
    assert closing_line(raw, tmp_path / "two") == line  # with the first example of each rule
    assert started == [1]  # beside this one
    assert stored(tmp_path / "two") == stored(tmp_path / "one")


KILLED = """
import os, signal, sys
from pathlib import Path
from stages.tasks.sketch.prepare import chunks
from stages.tasks.sketch.data import quickdraw
from tests.unit.sketch_files import run

make, made = chunks._batch, []

def make_and_die(*arguments):
    made.append(make(*arguments))
    if len(made) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return made[-1]

chunks._batch = make_and_die
quickdraw.CHUNK_BYTES = 1000
run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_process_is_gone_on_from_with_the_same_bytes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: Callable[[], None]
) -> None:
    make_dirty(raw)
    monkeypatch.setattr(quickdraw, "CHUNK_BYTES", 1000)
    made: list[str] = []
    make = chunks._batch

    def counted(records: quickdraw.Records, *rest: Any) -> Any:
        made.append(f"{records.member} {len(records.places)}")
        return make(records, *rest)

    monkeypatch.setattr(chunks, "_batch", counted)
    run(raw, tmp_path / "undisturbed")
    undisturbed = made.copy()
    made.clear()
    anew()
    command = [sys.executable, "-c", KILLED, str(raw), str(tmp_path / "killed")]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    assert subprocess.run(command, env=environment, cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    run(raw, tmp_path / "resumed")
    assert made == undisturbed[4:]
    assert stored(tmp_path / "resumed") == stored(tmp_path / "undisturbed")


def test_chunks_that_somebody_has_cleared_away_meanwhile_are_made_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(raw, tmp_path / "alone")

    def cleared(some: list[quickdraw.Chunk], function: Any, processes: int) -> Iterator[Any]:
        for chunk in some:
            prepared = function(chunk)
            shutil.rmtree(tmp_path / "resume" / "prepared")
            yield chunk, prepared

    monkeypatch.setattr(module, "_prepared", cleared)
    run(raw, tmp_path / "beside")
    assert stored(tmp_path / "beside") == stored(tmp_path / "alone")


def test_where_no_chunk_can_be_kept_each_is_made_once(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(raw, tmp_path / "kept")
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "file"))
    made: list[str] = []
    make = chunks._make

    def counted(chunk: quickdraw.Chunk, content: bytes, params: Any, parts: Any, key: str) -> Any:
        made.append(key)
        return make(chunk, content, params, parts, key)

    monkeypatch.setattr(chunks, "_make", counted)
    run(raw, tmp_path / "not kept")
    assert len(made) == len(set(made)) == 2
    assert stored(tmp_path / "not kept") == stored(tmp_path / "kept")


def test_a_file_that_cannot_be_read_is_tried_again(raw: Path, tmp_path: Path) -> None:
    """The machine may have been to blame."""
    (raw / "sketchrnn").mkdir()
    (raw / "sketchrnn" / "cat.npz").write_bytes(b"no archive")
    for name, kept in (("one", 0), ("two", 2)):
        output = prepared(raw, tmp_path / name)
        assert output.metrics()["rejected_unreadable_file"] == 1
        assert output.kept.startswith(f"{kept} of 3 chunks")


def test_what_was_seen_before_is_known_in_memory_and_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "_IN_MEMORY", 100)
    generator = np.random.default_rng(1)
    known, ours = set[int](), dedup.DigestSet(tmp_path)
    for _ in range(40):
        digests = generator.integers(0, 3000, 200).astype(np.uint64) * np.uint64(2**52)
        expected = []
        for digest in digests.tolist():
            expected.append(digest in known)
            known.add(digest)
        assert ours.add(digests).tolist() == expected
    assert any(isinstance(run, np.memmap) for run in ours._runs)
    assert len(ours._runs) < 8
    assert ours.add(np.empty(0, np.uint64)).tolist() == []


def test_drawings_that_differ_in_one_step_have_other_digests() -> None:
    steps = np.array([[0, 0, 0], [255, 3, 0], [4, 5, 1]], dtype=np.uint8)
    variants = [steps]
    for row in range(3):
        for column in range(3):
            other = steps.copy()
            other[row, column] ^= 1
            variants.append(other)
    variants += [steps[[1, 0, 2]], steps[:2], np.concatenate([steps, steps[-1:]])]
    lengths = np.array([len(variant) for variant in variants])
    digests = chunks.points_digests(np.concatenate(variants), lengths)
    assert len(set(digests.tolist())) == len(variants)
    assert chunks.points_digests(steps, np.array([3])).tolist() == digests[:1].tolist()

"""The work on files in chunks, by any number of processes, killed or not: the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.tasks.sketch.data import canonical, npz, parse, quickdraw, scan, simplify, strokes
from stages.tasks.sketch.prepare import chunks, dedup
from stages.tasks.sketch.prepare import prepare as module
from tests.unit.sketch_files import closing_line, make_dirty, params, record, run, stored, two_files, write


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return two_files(tmp_path / "raw")


def test_equal_input_gives_equal_bytes(raw: Path, tmp_path: Path) -> None:
    make_dirty(raw)
    run(raw, tmp_path / "one")
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


def test_the_number_of_processes_changes_no_byte(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dirty(raw)
    line = closing_line(raw, tmp_path / "one")
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
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    command = [sys.executable, "-c", KILLED, str(raw), str(tmp_path / "killed")]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    assert subprocess.run(command, env=environment, cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    run(raw, tmp_path / "resumed")
    assert made == undisturbed[4:]
    assert stored(tmp_path / "resumed") == stored(tmp_path / "undisturbed")
    assert not list((tmp_path / "resume" / "sketch-chunks").iterdir())


def test_chunks_that_another_prepare_has_cleared_away_are_made_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(raw, tmp_path / "alone")

    def cleared(some: list[quickdraw.Chunk], function: Any, processes: int) -> Iterator[Any]:
        for chunk in some:
            path, lines = function(chunk)
            path.unlink()
            yield chunk, path, lines

    monkeypatch.setattr(module, "_prepared", cleared)
    run(raw, tmp_path / "beside")
    assert stored(tmp_path / "beside") == stored(tmp_path / "alone")


def test_prepared_chunks_of_other_data_or_params_are_not_taken(raw: Path, tmp_path: Path) -> None:
    def made(**changes: Any) -> tuple[Path, int]:
        (chunk,) = quickdraw.raw_files(raw)[0].chunks()
        return chunks.prepare_chunk(chunk, params(**changes), tmp_path)

    path, lines = made()
    assert lines == 40
    assert made(max_rejected_share=0.5)[0] == path
    assert made(seed=2)[0] != path
    write(raw, "cat", [record(n) for n in range(1, 41)])
    assert made()[0] != path


def test_prepared_chunks_of_other_code_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a drawing comes to is decided in `data` and `prepare`."""
    read: set[str] = set()
    text = Path.read_text

    def noted(path: Path, *rest: Any, **options: Any) -> str:
        read.add(f"{path.parent.name}/{path.name}")
        return text(path, *rest, **options)

    monkeypatch.setattr(Path, "read_text", noted)
    chunks._code.__wrapped__()
    used = {module.__file__ for module in (chunks, quickdraw, canonical, npz, parse, scan, simplify, strokes)}
    assert {f"{Path(str(file)).parent.name}/{Path(str(file)).name}" for file in used} <= read


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

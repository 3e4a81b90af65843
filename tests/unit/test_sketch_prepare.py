"""From files to the store: every drawing once, on the side it keeps, and every other one with its reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.data.prepared import open_prepared
from stages.preprocessing.preparation import Preparation, PreparationError
from stages.tasks.sketch.data import quickdraw
from stages.tasks.sketch.params import PrepareParams
from stages.tasks.sketch.prepare import parts, seen
from stages.tasks.sketch.prepare import prepare as module
from stages.tasks.sketch.prepare.prepare import prepare

QUICKDRAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "quickdraw"
SPLITS_OF_NPZ = ("train", "valid", "test")
needs_data = pytest.mark.skipif(not QUICKDRAW.is_dir(), reason="the shared data is not here")


def params(**changes: Any) -> PrepareParams:
    block = {
        "seed": 1,
        "validation_share": 0.1,
        "test_share": 0.2,
        "max_points": 50,
        "unrecognized": "keep",
        "other_word": "reject",
        "max_rejected_share": 1.0,
    }
    return PrepareParams.model_validate({**block, **changes})


def run(raw: Path, folder: Path, **changes: Any) -> dict[str, float]:
    with Preparation(folder, max_rejected_share=1.0) as output:
        prepare(raw, params(**changes), output)
    return output.metrics()


def record(number: int, word: str = "cat", **changes: Any) -> dict[str, Any]:
    """A drawing that is like no other."""
    drawing = [[[0, 255, 100 + number % 90], [0, 0, 60 + number // 90]]]
    return {"word": word, "key_id": f"{word}{number}", "recognized": True, "drawing": drawing, **changes}


def write(raw: Path, name: str, records: list[Any], form: str = "simplified") -> None:
    (raw / form).mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    (raw / form / f"{name}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


def rejected(folder: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(folder / "rejected.parquet").to_pylist()
    return rows


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write(tmp_path / "raw", "cat", [record(n) for n in range(40)])
    write(tmp_path / "raw", "ice cream", [record(n, "ice cream") for n in range(800, 840)])
    return tmp_path / "raw"


def test_a_drawing_is_stored_with_its_label_and_its_points(raw: Path, tmp_path: Path) -> None:
    metrics = run(raw, tmp_path / "out")
    assert metrics == {"accepted": 80, "rejected": 0, "rejected_share": 0.0}
    store, description = open_prepared(tmp_path / "out")
    assert description["classes"] == ["cat", "ice cream"]
    row = store.column("id").tolist().index("ice cream800")
    assert [store.value(name, row) for name in ("label", "word", "length")] == ["ice cream", "ice cream", 3]
    assert store.sequence("values", row).tolist() == [[0, 0, 0], [255, 0, 0], [180, 68, 1]]
    assert sum(sum(counts.values()) for counts in description["drawings"].values()) == 80


def test_bad_lines_are_rejected_with_their_reason_and_the_others_kept(raw: Path, tmp_path: Path) -> None:
    whole = json.dumps(record(50))
    bad: list[Any] = [
        whole[: len(whole) // 2],
        "not JSON",
        "[1, 2]",
        '{"word": "cat", "key_id": "n", "drawing": [[[NaN, 1], [0, 1]]]}',
        record(51, drawing=[]),
        record(52, drawing=None),
        record(53, drawing=[[[0, 1], [0]]]),
        record(54, word="dog"),
        record(0),
        record(55, drawing=record(1)["drawing"]),
        "",
    ]
    write(raw, "cat", [record(n) for n in range(40)] + bad)
    metrics = run(raw, tmp_path / "out")
    assert metrics["accepted"] == 80
    assert {k: v for k, v in metrics.items() if k.startswith("rejected_") and k != "rejected_share"} == {
        "rejected_not_json": 3,
        "rejected_not_an_object": 1,
        "rejected_no_points": 1,
        "rejected_malformed_drawing": 2,
        "rejected_other_word": 1,
        "rejected_duplicate_key": 1,
        "rejected_duplicate_points": 1,
    }
    rows = rejected(tmp_path / "out")
    assert {row["file"] for row in rows} == {"simplified/cat.ndjson"}
    by_id = {row["id"]: row for row in rows}
    assert by_id["simplified/cat.ndjson: line 42"]["content"] == "not JSON"
    assert by_id["dog54"]["reason"].startswith("line 48: the word is 'dog', the file's category 'cat'")


def test_a_file_cut_short_in_its_last_line_loses_that_line_alone(raw: Path, tmp_path: Path) -> None:
    path = raw / "simplified" / "cat.ndjson"
    path.write_bytes(path.read_bytes()[:-40])
    metrics = run(raw, tmp_path / "out")
    assert (metrics["accepted"], metrics["rejected_not_json"]) == (79, 1)


def test_a_line_without_end_is_passed_over_in_pieces(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickdraw, "MAX_LINE_BYTES", 1000)
    write(raw, "cat", [record(0), "x" * 5500, record(1), "y" * 900, record(2)])
    metrics = run(raw, tmp_path / "out")
    assert metrics["accepted"] == 43
    assert metrics["rejected_line_too_long"] == 1
    assert metrics["rejected_not_json"] == 1


def test_repaired_drawings_are_kept_and_counted(raw: Path, tmp_path: Path) -> None:
    mended = [
        record(60, drawing=[[[0, 255], [0, 9]], [[7], [7]]]),
        record(61, drawing=[[[-5, 250], [0, 9]]]),
        record(62, key_id=None),
        record(0, drawing=[[[0, 255], [0, 9]], [[7], [7]]]),  # a duplicate: rejected, so not counted as repaired
    ]
    write(raw, "cat", [record(n) for n in range(40)] + mended)
    metrics = run(raw, tmp_path / "out")
    assert metrics["accepted"] == 83
    assert {k: v for k, v in metrics.items() if k.startswith("repaired_")} == {
        "repaired_negative_coordinates": 1,
        "repaired_no_key_id": 1,
        "repaired_one_point_stroke": 1,
    }


def test_what_google_did_not_recognise_is_kept_or_dropped_as_asked(raw: Path, tmp_path: Path) -> None:
    write(raw, "cat", [record(n, recognized=n % 10 != 0) for n in range(40)])
    assert run(raw, tmp_path / "kept")["accepted"] == 80
    dropped = run(raw, tmp_path / "dropped", unrecognized="drop")
    assert (dropped["accepted"], dropped["rejected_unrecognized"]) == (76, 4)


def sides(folder: Path) -> dict[str, str]:
    store, _ = open_prepared(folder)
    return {store.value("id", row): store.value("split", row) for row in range(len(store))}


def test_a_drawing_never_changes_side_when_data_grows(raw: Path, tmp_path: Path) -> None:
    write(raw, "cat", [record(n) for n in range(400)])
    run(raw, tmp_path / "before")
    write(raw, "cat", [record(n) for n in reversed(range(500))])
    write(raw, "ant", [record(n, "ant") for n in range(600, 620)])
    run(raw, tmp_path / "after")
    before, after = sides(tmp_path / "before"), sides(tmp_path / "after")
    assert len(after) == 560
    assert before == {key: after[key] for key in before}
    shares = {split: list(before.values()).count(split) / len(before) for split in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.05)


def test_another_seed_draws_another_split(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "one")
    run(raw, tmp_path / "two", seed=2)
    assert sides(tmp_path / "one") != sides(tmp_path / "two")


def stored(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("sequences.arrow", "description.json", "rejected.parquet")]


def make_dirty(raw: Path) -> None:
    """Lines of all kinds, among them drawings that come twice, in one file or in two."""
    odd = ["", "{", record(3), record(700, key_id=None), record(7), record(701, drawing=record(9)["drawing"]), " "]
    write(raw, "cat", [record(n) for n in range(60)] + odd + [record(n) for n in range(60, 90)] + odd)
    write(raw, "dog", [record(n, "dog") for n in range(80, 140)], form="raw")
    save_npz(raw / "sketchrnn" / "pig.npz", **{name: [stroke_3(9 + n)] * 3 for n, name in enumerate(SPLITS_OF_NPZ)})


def test_equal_input_gives_equal_bytes(raw: Path, tmp_path: Path) -> None:
    make_dirty(raw)
    run(raw, tmp_path / "one")
    run(raw, tmp_path / "two")
    assert stored(tmp_path / "one") == stored(tmp_path / "two")


@pytest.mark.parametrize("size", [50, 1000])
def test_the_pieces_that_files_are_read_in_change_no_byte(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    make_dirty(raw)
    run(raw, tmp_path / "whole")
    monkeypatch.setattr(quickdraw, "PIECE_BYTES", size)
    run(raw, tmp_path / "pieces")
    assert stored(tmp_path / "pieces") == stored(tmp_path / "whole")


def test_the_number_of_processes_changes_no_byte(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dirty(raw)
    run(raw, tmp_path / "one")
    monkeypatch.setattr(quickdraw, "PIECE_BYTES", 2000)
    monkeypatch.setattr(module, "_BYTES_PER_PROCESS", 2000)
    monkeypatch.setattr(module, "cores", lambda: 2)
    started: list[int] = []
    in_processes = module.ordered_map

    def counted(*arguments: Any, processes: int, join_in: bool) -> Any:
        started.append(processes)
        return in_processes(*arguments, processes=processes, join_in=join_in)

    monkeypatch.setattr(module, "ordered_map", counted)
    run(raw, tmp_path / "two")
    assert started == [1]  # beside this one
    assert stored(tmp_path / "two") == stored(tmp_path / "one")


KILLED = """
import os, signal, sys
from pathlib import Path
from stages.tasks.sketch.prepare import parts, seen
from stages.tasks.sketch.data import quickdraw
from tests.unit.test_sketch_prepare import run

make, made = parts._batch, []

def make_and_die(*arguments):
    made.append(make(*arguments))
    if len(made) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return made[-1]

parts._batch = make_and_die
quickdraw.PIECE_BYTES = 1000
run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_process_is_gone_on_from_with_the_same_bytes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dirty(raw)
    monkeypatch.setattr(quickdraw, "PIECE_BYTES", 1000)
    made: list[str] = []
    make = parts._batch

    def counted(chunk: quickdraw.Chunk, *rest: Any) -> Any:
        made.append(f"{chunk.member} {len(chunk.places)}")
        return make(chunk, *rest)

    monkeypatch.setattr(parts, "_batch", counted)
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
    assert not list((tmp_path / "resume" / "sketch-parts").iterdir())


def test_parts_that_another_prepare_has_cleared_away_are_made_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(raw, tmp_path / "alone")

    def cleared(pieces: list[quickdraw.Piece], reader: parts.Reader, processes: int) -> Iterator[Any]:
        for piece in pieces:
            path, lines = reader(piece)
            path.unlink()
            yield piece, path, lines

    monkeypatch.setattr(module, "_parts", cleared)
    run(raw, tmp_path / "beside")
    assert stored(tmp_path / "beside") == stored(tmp_path / "alone")


def test_parts_of_other_data_or_params_are_not_taken(raw: Path, tmp_path: Path) -> None:
    parts_folder = tmp_path / "parts"
    parts_folder.mkdir()
    (piece,) = quickdraw.raw_files(raw)[0].pieces()
    path, lines = parts.Reader(params(), parts_folder)(piece)
    assert lines == 40
    assert parts.Reader(params(max_rejected_share=0.5), parts_folder)(piece)[0] == path
    assert parts.Reader(params(seed=2), parts_folder)(piece)[0] != path
    write(raw, "cat", [record(n) for n in range(1, 41)])
    (piece,) = quickdraw.raw_files(raw)[0].pieces()
    assert parts.Reader(params(), parts_folder)(piece)[0] != path


def test_what_was_seen_before_is_known_in_memory_and_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_IN_MEMORY", 100)
    generator = np.random.default_rng(1)
    known, ours = set[int](), seen.Seen(tmp_path)
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
    digests = parts.points_digests(np.concatenate(variants), lengths)
    assert len(set(digests.tolist())) == len(variants)
    assert parts.points_digests(steps, np.array([3])).tolist() == digests[:1].tolist()


def save_npz(path: Path, **splits: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, drawings in splits.items():
        arrays[name] = np.empty(len(drawings), dtype=object)
        arrays[name][:] = drawings
    np.savez(path, allow_pickle=True, **arrays)


def stroke_3(number: int) -> np.ndarray:
    return np.array([[255, 0, 0], [-number, 40, 1]], dtype=np.int16)


def test_an_npz_keeps_its_own_split_and_loses_what_it_repeats(raw: Path, tmp_path: Path) -> None:
    train, valid = [stroke_3(n) for n in range(20)], [stroke_3(n) for n in range(18, 24)]
    save_npz(raw / "sketchrnn" / "pig.npz", train=train, valid=valid, test=[stroke_3(n) for n in range(23, 26)])
    metrics = run(raw, tmp_path / "out")
    assert metrics["rejected_duplicate_points"] == 3
    _, description = open_prepared(tmp_path / "out")
    assert description["drawings"]["pig"] == {"train": 20, "validation": 4, "test": 2}
    assert sides(tmp_path / "out")["sketchrnn/pig.npz: valid 2"] == "validation"


def test_an_npz_with_a_foreign_pickle_is_rejected_and_stops_the_stage(raw: Path, tmp_path: Path) -> None:
    class Foreign:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.mkdir, (tmp_path / "made",)

    (raw / "sketchrnn").mkdir()
    outer = np.empty(1, dtype=object)
    outer[0] = Foreign()
    np.savez(raw / "sketchrnn" / "pig.npz", train=outer, valid=outer, test=outer)
    with pytest.raises(
        ValueError, match="category 'pig': no drawing to train on.*asks for pathlib.* allowed are NumPy arrays"
    ):
        run(raw, tmp_path / "out")
    assert [(row["file"], row["rule"]) for row in rejected(tmp_path / "out")] == [
        ("sketchrnn/pig.npz", "unreadable_file")
    ]
    assert not (tmp_path / "made").exists()


def test_too_many_rejections_fail_the_stage_and_say_why(raw: Path, tmp_path: Path) -> None:
    write(raw, "cat", [record(n) for n in range(40)] + ["{"] * 20)
    with (
        pytest.raises(PreparationError, match=r"20 of 100 records rejected \(20.0%\).*not_json 20"),
        Preparation(tmp_path / "out", max_rejected_share=0.1) as output,
    ):
        prepare(raw, params(), output)


def test_a_folder_without_drawings_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(ValueError, match="no drawings; allowed are files such as simplified/cat.ndjson"):
        run(tmp_path / "raw", tmp_path / "out")


@needs_data
@pytest.mark.parametrize(
    ("name", "word"), [("tv", "television"), ("dining table", "table"), ("potted plant", "house plant")]
)
def test_a_file_under_another_name_is_refused_or_taken_under_it(tmp_path: Path, name: str, word: str) -> None:
    content = (QUICKDRAW / "dirty" / f"{name}.ndjson").read_text(encoding="utf-8").splitlines()
    write(tmp_path / "raw", name, content)
    write(tmp_path / "raw", "cat", [record(n) for n in range(40)])
    with pytest.raises(ValueError, match=f"category '{name}': no drawing.*the word is '{word}'"):
        run(tmp_path / "raw", tmp_path / "refused")
    metrics = run(tmp_path / "raw", tmp_path / "kept", other_word="keep", max_points=500)
    assert metrics["accepted"] == len(content) + 40
    assert metrics["repaired_other_word"] == len(content)
    store, _ = open_prepared(tmp_path / "kept")
    assert set(zip(store.column("label"), store.column("word"), strict=True)) == {(name, word), ("cat", "cat")}


@needs_data
def test_all_three_forms_of_the_hosts_files_go_into_one_store(tmp_path: Path) -> None:
    for form, path in (
        ("simplified", "full/simplified/ice cream.ndjson"),
        ("raw", "full/raw/duck.ndjson"),
        ("sketchrnn", "sketchrnn/radio.npz"),
    ):
        (tmp_path / "raw" / form).mkdir(parents=True)
        (tmp_path / "raw" / form / Path(path).name).write_bytes((QUICKDRAW / path).read_bytes())
    metrics = run(tmp_path / "raw", tmp_path / "out", max_points=1000)
    store, description = open_prepared(tmp_path / "out")
    assert description["classes"] == ["duck", "ice cream", "radio"]
    assert metrics["rejected_share"] < 0.01
    for row in range(0, len(store), 50):
        values = store.sequence("values", row)
        assert values[:, :2].min(axis=0).tolist() == [0, 0]
        assert values[:, :2].max() == 255
        assert values[-1, 2] == 1

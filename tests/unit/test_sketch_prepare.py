"""From files to the store: every drawing once, in the split it keeps, and every other one with its reason."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from stages.data.prepared import open_prepared
from stages.preprocessing.preparation import Preparation, PreparationError
from stages.tasks.sketch.data import quickdraw
from stages.tasks.sketch.prepare.prepare import prepare
from tests.unit.sketch_files import closing_line, params, record, run, save_npz, stored, stroke_3, two_files, write

QUICKDRAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "quickdraw"
needs_data = pytest.mark.skipif(not QUICKDRAW.is_dir(), reason="the shared data is not here")


def rejected(folder: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(folder / "rejected.parquet").to_pylist()
    return rows


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return two_files(tmp_path / "raw")


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
    assert by_id["dog54"]["reason"].startswith("line 48: the word is 'dog', but the file's category is 'cat'")


def test_a_file_cut_short_in_its_last_line_loses_that_line_alone(raw: Path, tmp_path: Path) -> None:
    path = raw / "simplified" / "cat.ndjson"
    path.write_bytes(path.read_bytes()[:-40])
    metrics = run(raw, tmp_path / "out")
    assert (metrics["accepted"], metrics["rejected_not_json"]) == (79, 1)


def test_a_line_without_end_is_passed_over_in_chunks(
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


def splits(folder: Path) -> dict[str, str]:
    store, _ = open_prepared(folder)
    return {store.value("id", row): store.value("split", row) for row in range(len(store))}


def test_a_drawing_never_changes_its_split_when_data_grows(raw: Path, tmp_path: Path) -> None:
    write(raw, "cat", [record(n) for n in range(400)])
    run(raw, tmp_path / "before")
    write(raw, "cat", [record(n) for n in reversed(range(500))])
    write(raw, "ant", [record(n, "ant") for n in range(600, 620)])
    run(raw, tmp_path / "after")
    before, after = splits(tmp_path / "before"), splits(tmp_path / "after")
    assert len(after) == 560
    assert before == {key: after[key] for key in before}
    shares = {split: list(before.values()).count(split) / len(before) for split in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.05)


def test_another_seed_draws_another_split(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "one")
    run(raw, tmp_path / "two", seed=2)
    assert splits(tmp_path / "one") != splits(tmp_path / "two")


def test_an_npz_keeps_its_own_split_and_loses_what_it_repeats(raw: Path, tmp_path: Path) -> None:
    train, valid = [stroke_3(n) for n in range(20)], [stroke_3(n) for n in range(18, 24)]
    save_npz(raw / "sketchrnn" / "pig.npz", train=train, valid=valid, test=[stroke_3(n) for n in range(23, 26)])
    metrics = run(raw, tmp_path / "out")
    assert metrics["rejected_duplicate_points"] == 3
    _, description = open_prepared(tmp_path / "out")
    assert description["drawings"]["pig"] == {"train": 20, "validation": 4, "test": 2}
    assert splits(tmp_path / "out")["sketchrnn/pig.npz: valid 2"] == "validation"


def test_an_npz_with_a_foreign_pickle_is_rejected_and_stops_the_stage(raw: Path, tmp_path: Path) -> None:
    class Foreign:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.mkdir, (tmp_path / "made",)

    (raw / "sketchrnn").mkdir()
    outer = np.empty(1, dtype=object)
    outer[0] = Foreign()
    np.savez(raw / "sketchrnn" / "pig.npz", train=outer, valid=outer, test=outer)
    with pytest.raises(
        ValueError, match="category 'pig': no drawing to train on.*loads pathlib.* allowed: NumPy arrays"
    ):
        run(raw, tmp_path / "out")
    assert [(row["file"], row["rule"]) for row in rejected(tmp_path / "out")] == [
        ("sketchrnn/pig.npz", "unreadable_file")
    ]
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("group", ["countrycode", "^(h[0-9]+)-"])
def test_no_group_stands_on_two_sides(tmp_path: Path, group: str) -> None:
    for word, numbers in (("cat", range(120)), ("dog", range(120, 240))):
        drawings = [record(n, word, **{"countrycode": f"h{n % 12}", "key_id": f"h{n % 12}-{n}"}) for n in numbers]
        write(tmp_path / "raw", word, drawings)
    lone = [record(300, key_id="nobody"), record(301, key_id="no", countrycode=" "), record(302, countrycode=[1])]
    with (tmp_path / "raw/simplified/cat.ndjson").open("a") as file:
        file.writelines(json.dumps(drawing) + "\n" for drawing in lone)
    metrics = run(tmp_path / "raw", tmp_path / "out", group=group, validation_share=0.2)
    store, _ = open_prepared(tmp_path / "out")
    sides: dict[str | None, set[str]] = {}
    for row in range(len(store)):
        sides.setdefault(store.value("group", row), set()).add(store.value("split", row))
    assert set(sides) == {*(f"h{n}" for n in range(12)), None}
    assert all(len(side) == 1 for name, side in sides.items() if name)
    assert (len(store), metrics["repaired_no_group"]) == (243, 3)


def test_too_few_groups_to_draw_from_are_refused(raw: Path, tmp_path: Path) -> None:
    write(raw, "cat", [record(n, countrycode="US") for n in range(40)])
    write(raw, "ice cream", [record(n, "ice cream", countrycode="US") for n in range(800, 840)])
    with pytest.raises(ValueError, match=r"prepare.group: 'countrycode' makes too few groups .*validation 0, test 0"):
        run(raw, tmp_path / "out", group="countrycode")


@pytest.mark.parametrize("group", ["(a)(b)", "[a-z]+", "(a"])
def test_a_group_that_is_no_field_and_no_pattern_is_refused(group: str) -> None:
    with pytest.raises(ValidationError, match="empty, a field's name, or a regular expression with one pair"):
        params(group=group)


def test_examples_are_the_first_of_the_input(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickdraw, "CHUNK_BYTES", 500)
    dot = [[[0, 255], [0, 9]], [[7], [7]]]
    write(
        raw,
        "cat",
        [*[record(n) for n in range(20)], "{", record(50, drawing=dot), "[", record(51, drawing=[dot[1], *dot])],
    )
    line = closing_line(raw, tmp_path / "out")
    assert line.startswith("warning: sketch: 62 drawings; rejected 2 of 64 drawings (3.1 %): not_json ")
    assert "(simplified/cat.ndjson: line 21: " in line
    assert "repaired 2 one_point_stroke (simplified/cat.ndjson, cat50) — see x" in line


def test_too_many_rejections_fail_the_stage_and_say_why(raw: Path, tmp_path: Path) -> None:
    write(raw, "cat", [record(n) for n in range(40)] + ["{"] * 20)
    with (
        pytest.raises(PreparationError, match=r"rejected 20 of 100 drawings \(20 %\).*not_json 20"),
        Preparation(tmp_path / "out", max_rejected_share=0.1) as output,
    ):
        prepare(raw, params(), output)


def test_a_folder_without_drawings_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(ValueError, match="no drawings; allowed: files such as simplified/cat.ndjson"):
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


@pytest.mark.parametrize(
    "written",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        gzip.compress,
        lambda content: b"\xff\xfe" + content.decode().encode("utf-16-le"),
        lambda content: gzip.compress(b"\xef\xbb\xbf" + content),
    ],
)
def test_packed_lines_and_other_encodings_give_the_same_store(
    raw: Path, tmp_path: Path, written: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickdraw, "CHUNK_BYTES", 1000)
    run(raw, tmp_path / "plain")
    for path in raw.rglob("*.ndjson"):
        path.write_bytes(written(path.read_bytes()))
    assert run(raw, tmp_path / "out")["accepted"] == 80
    assert stored(tmp_path / "out") == stored(tmp_path / "plain")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in (tmp_path / "plain").iterdir()
    )


def test_a_file_that_cannot_be_read_is_rejected_by_name_and_the_others_go_on(raw: Path, tmp_path: Path) -> None:
    write(raw, "cat", [record(n) for n in range(40, 60)], form="raw")
    (raw / "raw" / "cat.ndjson").write_bytes(gzip.compress((raw / "raw" / "cat.ndjson").read_bytes())[:-9])
    (raw / "sketchrnn").mkdir()
    (raw / "sketchrnn" / "cat.npz").write_bytes(b"PK\x03\x04")
    metrics = run(raw, tmp_path / "out")
    assert (metrics["accepted"], metrics["rejected_unreadable_file"]) == (80, 2)
    assert {row["file"]: row["reason"].partition(":")[0] for row in rejected(tmp_path / "out")} == {
        "raw/cat.ndjson": "cat.ndjson",
        "sketchrnn/cat.npz": "cat.npz",
    }


def test_a_drawing_of_an_npz_has_as_many_points_as_any_other(raw: Path, tmp_path: Path) -> None:
    long = np.zeros((50_000, 3), np.int8)
    save_npz(raw / "sketchrnn" / "pig.npz", train=[stroke_3(1), long, stroke_3(2)], valid=[], test=[])
    run(raw, tmp_path / "out")
    (row,) = rejected(tmp_path / "out")
    assert (row["id"], row["rule"]) == ("sketchrnn/pig.npz: train 1", "too_many_points")
    assert row["reason"] == "50001 points; allowed: 50000"


def test_a_byte_that_is_no_text_is_told_with_its_place_and_the_way_out(raw: Path, tmp_path: Path) -> None:
    line = json.dumps(record(50, countrycode="MÜ"), ensure_ascii=False).encode("cp1252")
    with (raw / "simplified" / "cat.ndjson").open("ab") as file:
        file.write(line + b"\n")
    run(raw, tmp_path / "out")
    (found,) = rejected(tmp_path / "out")
    assert found["rule"] == "undecodable"
    assert found["reason"].startswith(f"found byte 0xdc at {line.index(bytes([0xDC]))} after '")
    assert found["reason"].endswith("; allowed: UTF-8; iconv -f cp1252 -t utf-8 converts a file")

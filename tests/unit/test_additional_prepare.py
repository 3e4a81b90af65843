"""Corrections that `source.also` took in are learned from and measure nothing, unless `also_test` asks for it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.data.prepared import open_prepared
from stages.tasks.sketch.evaluate.comparison import examples
from stages.tasks.translation.data.readers import Corpus, Part, write_corpus
from stages.tasks.video.evaluate.comparison import examples as clip_examples
from stages.tasks.video.prepare.additional import reject_held_back
from tests.unit import sketch_files, test_video_prepare
from tests.unit.test_translation_prepare import prepared
from tests.unit.video_clips import write_clip


def rules(folder: Path) -> dict[str, str]:
    return {row["id"]: row["rule"] for row in pq.read_table(folder / "rejected.parquet").to_pylist()}


def sketches(raw: Path, split: str, records: list[Any]) -> None:
    lines = [json.dumps(record) for record in records]
    path = raw / f"also/{split}/1/2026-12-02.ndjson"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_drawings_are_learned_from_and_measure_nothing(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    sketch_files.two_files(raw)
    before = sketch_files.run(raw, tmp_path / "before")
    store, _ = open_prepared(tmp_path / "before")
    split = {str(store.value("id", row)): store.value("split", row) for row in range(len(store))}
    own = {
        s: next(name for name, of in split.items() if of == s and name.startswith("cat")) for s in set(split.values())
    }
    number = {s: int(name.removeprefix("cat")) for s, name in own.items()}
    new = [sketch_files.record(n, "cat", key_id=str(n), recognized=False, countrycode="") for n in range(1200, 1240)]
    equal = [sketch_files.record(number[s], "ice cream", key_id=f"equal {s}") for s in ("test", "validation", "train")]
    others = [
        *(
            {"key_id": "dog", "word": "dog", "drawing": [[[0, 9], [0, 8]]]},
            {"key_id": "wordless", "drawing": [[[0, 9], [0, 7]]]},
        ),
        sketch_files.record(1250, "cat", key_id=own["test"]),
    ]
    sketches(raw, "train", [*new, *equal, *others, new[0]])
    after = sketch_files.run(raw, tmp_path / "after", unrecognized="drop", group="countrycode")
    store, description = open_prepared(tmp_path / "after")
    rows = {
        str(store.value("id", row)): (store.value("label", row), store.value("split", row)) for row in range(len(store))
    }
    assert {name: rows[name] for name in map(str, range(1200, 1240))} == dict.fromkeys(
        map(str, range(1200, 1240)), ("cat", "train")
    )
    assert rules(tmp_path / "after") == {
        "equal test": "in_test_set",
        "equal validation": "duplicate_points",
        "equal train": "duplicate_points",
        "dog": "unknown_class",
        "wordless": "no_word",
        own["test"]: "in_test_set",
        "1200": "duplicate_key",
    }
    assert {name: of for name, (_, of) in rows.items() if name in split} == split
    assert description["classes"] == ["cat", "ice cream"]
    assert sum(description["drawings"]["cat"].values()) == 80
    assert after["repaired_no_group"] == 80  # of the source's own drawings, whose split it would decide
    assert before["accepted"] == 80


def test_drawings_come_into_all_splits_where_that_is_asked_for(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    sketch_files.two_files(raw)
    sketches(raw, "drawn", [sketch_files.record(n, "cat", key_id=str(n)) for n in range(1200, 1260)])
    sketch_files.run(raw, tmp_path / "out")
    store, _ = open_prepared(tmp_path / "out")
    test = [str(store.value("id", row)) for row in store.rows("test")]
    added = {store.value("split", row) for row in range(len(store)) if store.value("id", row).isdecimal()}
    assert added == {"train", "validation", "test"}
    asked = examples(tmp_path / "out", raw, np.arange(len(test)))  # the gate finds them, too
    assert len(asked) == len(test)


def test_pairs_are_learned_from_and_measure_nothing(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = [f"source {n}é\ttarget {n}\n" for n in range(60)]
    (raw / "pairs.tsv").write_bytes("".join(lines).encode("cp1252"))

    def corpus(*parts: Part) -> None:
        own = Part(files=["pairs.tsv"], split="drawn")
        write_corpus(raw, Corpus(source_language="en", target_language="de", parts=[*parts, own]))

    corpus()
    store, _, _ = prepared(raw, tmp_path / "before", encoding="cp1252")
    split = {store.value("source_text", row): store.value("split", row) for row in range(len(store))}
    chosen = {of: next(text for text, own in split.items() if own == of) for of in ("train", "validation", "test")}
    further = [f"new {n}ü\tneu {n}\n" for n in range(40)]
    further += [f"{text}\tbetter\n" for text in chosen.values()]
    further += [next(line for line in lines if line.startswith(f"{chosen['test']}\t")), "new 0ü\tneu 0\n", "half\n"]
    path = raw / "also/train/1/2026-12-02.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("".join(further), encoding="utf-8")
    corpus(Part(files=["also/train/1/2026-12-02.tsv"], split="train"))  # before the others, and read after them
    store, _, metrics = prepared(raw, tmp_path / "after", encoding="cp1252")
    rows = {
        (store.value("source_text", row), store.value("target_text", row)): store.value("split", row)
        for row in range(len(store))
    }
    assert [rows[f"new {n}ü", f"neu {n}"] for n in range(40)] == ["train"] * 40
    assert rows[chosen["train"], "better"] == "train"
    assert {text: of for (text, target), of in rows.items() if target != "better" and text in split} == split
    name = "also/train/1/2026-12-02.tsv"
    assert rules(tmp_path / "after") == {
        f"{name}:42": "in_other_split",
        f"{name}:43": "in_test_set",
        f"{name}:44": "in_test_set",
        f"{name}:45": "duplicate",
        f"{name}:46": "wrong_columns",
    }
    assert metrics["rejected"] == 5


def test_a_pair_whose_target_is_tested_is_kept_out_where_the_split_goes_by_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "pairs.tsv").write_text("".join(f"source {n}\ttarget {n}\n" for n in range(60)), encoding="utf-8")
    (raw / "also.tsv").write_text("".join(f"other {n}\ttarget {n}\n" for n in range(60)), encoding="utf-8")
    parts = [Part(files=["pairs.tsv"], split="drawn"), Part(files=["also.tsv"], split="train")]
    write_corpus(raw, Corpus(source_language="en", target_language="de", parts=parts))
    for split_by, kept in (("source", 60), ("target", None)):
        store, _, metrics = prepared(raw, tmp_path / split_by, split_by=split_by)
        own = [row for row in range(len(store)) if store.value("source_text", row).startswith("source")]
        train = sum(store.value("split", row) == "train" for row in own)
        assert len(store) - len(own) == (kept or train)
        assert metrics["accepted"] == 60 + (kept or train)


def clip(path: Path, level: int, frames: int = 9) -> Path:
    return write_clip(path, level, frames=frames)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    for number in range(1, 6):
        for label, level in (("Dark", 10), ("Light", 200)):
            clip(raw / "clips" / label / f"v_{label}_g{number:02d}_c01.mp4", level + number)
    return raw


def test_clips_are_learned_from_and_measure_nothing(clips: Path, tmp_path: Path) -> None:
    test_video_prepare._prepare(clips, tmp_path / "before")
    store, _ = open_prepared(tmp_path / "before")
    split = {store.value("id", row): store.value("split", row) for row in range(len(store))}
    tested = next(name for name, of in split.items() if of == "test")
    learned = next(name for name, of in split.items() if of == "train")
    place = clips / "also/train/1"
    for number in range(6):
        clip(place / f"Dark/2026-12-02-{number}.mp4", 60 + 10 * number)
    (place / "Light").mkdir()
    shutil.copy(clips / "clips" / tested, place / "Light/tested.mp4")
    shutil.copy(clips / "clips" / learned, place / "Light/learned.mp4")
    shutil.copy(place / "Dark/2026-12-02-0.mp4", place / "Light/again.mp4")
    clip(place / "Grey/new.mp4", 150)
    group = {of: re.search("_(g[0-9]+)_", name)[1] for name, of in split.items()}  # type: ignore[index]
    clip(place / f"Dark/new_{group['test']}_c77.mp4", 42)
    clip(place / f"Dark/new_{group['validation']}_c77.mp4", 43)
    clip(place / f"Dark/new_{group['train']}_c77.mp4", 44)
    test_video_prepare._prepare(clips, tmp_path / "after")
    store, description = open_prepared(tmp_path / "after")
    rows = {store.value("id", row): store.value("split", row) for row in range(len(store))}
    added = [*(f"2026-12-02-{number}" for number in range(6)), f"new_{group['train']}_c77"]
    assert rows == split | {f"also/train/1/Dark/{name}.mp4": "train" for name in added}
    assert description["classes"] == ["Dark", "Light"]
    assert rules(tmp_path / "after") == {
        "also/train/1/Grey/new.mp4": "unknown_class",
        "also/train/1/Light/again.mp4": "duplicate",
        "also/train/1/Light/learned.mp4": "duplicate",
        "also/train/1/Light/tested.mp4": "in_test_set",
        f"also/train/1/Dark/new_{group['test']}_c77.mp4": "group_held_back",
        f"also/train/1/Dark/new_{group['validation']}_c77.mp4": "group_held_back",
    }


@pytest.mark.parametrize("order", [("test", "train"), ("train", "test")])
def test_a_group_that_official_lists_divide_is_held_back(order: tuple[str, str]) -> None:
    name = "also/train/1/Dark/p1_9.mp4"
    splits = {"Dark/p1_1.mp4": order[0], "Dark/p1_2.mp4": order[1], name: "train"}
    rejected: list[str] = []

    class Output:
        def reject(self, *, id: str, **reason: str) -> None:
            rejected.append(id)

    output: Any = Output()
    assert reject_held_back(dict.fromkeys(splits, "p1"), splits, output) == {name}
    assert rejected == [name]


def test_clips_come_into_all_splits_where_that_is_asked_for(clips: Path, tmp_path: Path) -> None:
    for number in range(12):
        clip(clips / f"also/drawn/1/Dark/{number}.mp4", 60 + 10 * number)
    test_video_prepare._prepare(clips, tmp_path / "out")
    store, _ = open_prepared(tmp_path / "out")
    added = {store.value("split", row) for row in range(len(store)) if store.value("id", row).startswith("also/drawn")}
    assert added == {"train", "validation", "test"}
    paths = clip_examples(tmp_path / "out", clips, np.arange(len(store.rows("test"))))["path"]
    assert all(Path(path).is_file() for path in paths)
    assert any("/raw/also/drawn/1/Dark/" in path for path in paths)

"""Every clip of the raw folder is stored or rejected with its reason, in the same order, by the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from stages.data.prepared import open_prepared
from stages.preprocessing.preparation import Preparation
from stages.tasks.video.params import ModelParams, PrepareParams
from stages.tasks.video.prepare.prepare import prepare
from tests.unit.video_clips import write_clip

PARAMS = {
    "size": 16,
    "color": "gray",
    "encoder": "none",
    "frozen": True,
    "weights": "",
    "weights_sha256": "",
    "mirrored": False,
    "frames": 8,
    "min_frames": 4,
    "max_decoded_frames": 100,
    "max_megapixels": 1.0,
    "max_seconds": 30.0,
    "split": "group",
    "group": "_(g[0-9]+)_c[0-9]+$",
    "validation_share": 0.2,
    "test_share": 0.2,
    "seed": 1,
    "max_rejected_share": 0.9,
}


def _prepare(raw: Path, output: Path, **changes: object) -> dict[str, float]:
    with Preparation(output, max_rejected_share=0.9) as preparation:
        prepare(raw, PrepareParams.model_validate({**PARAMS, **changes}), preparation)
    return preparation.metrics()


def _rejected(output: Path) -> dict[str, str]:
    table = pq.read_table(output / "rejected.parquet").to_pylist()
    return {row["id"]: row["rule"] for row in table}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for number in range(1, 6):
        for label, level in (("Dark", 10), ("Light", 200)):
            write_clip(tmp_path / "raw/clips" / label / f"v_{label}_g{number:02d}_c01.mp4", level, frames=6 + number)
    return tmp_path / "raw"


def test_clips_are_stored_in_order_with_label_group_and_frames(raw: Path, tmp_path: Path) -> None:
    metrics = _prepare(raw, tmp_path / "first")
    assert metrics == {"accepted": 10, "rejected": 0, "rejected_share": 0.0}
    store, description = open_prepared(tmp_path / "first")
    assert description["classes"] == ["Dark", "Light"]
    assert description["clips"] == {"train": 6, "validation": 2, "test": 2}
    names = [store.value("id", row) for row in range(10)]
    assert names == sorted(names)
    assert names[0] == "Dark/v_Dark_g01_c01.mp4"
    assert store.column("label").tolist() == [0] * 5 + [1] * 5
    assert store.column("length").tolist() == [7, 8, 8, 8, 8] * 2  # of 7 to 11 frames, 8 at the most
    assert store.value("group", 1) == "g02"
    splits = [store.value("split", row) for row in range(10)]
    assert splits[:5] == splits[5:]  # a group stands on one side in both classes
    frames = store.sequence("frames", 0).reshape(-1, *store.metadata["shape"])
    assert frames.shape == (7, 16, 16, 1)
    assert np.median(frames) == pytest.approx(10, abs=4)
    assert np.median(store.sequence("frames", 9)) == pytest.approx(200, abs=4)

    _prepare(raw, tmp_path / "second")
    for name in ("sequences.arrow", "description.json", "rejected.parquet"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_bad_clips_are_set_aside_with_their_reason(raw: Path, tmp_path: Path) -> None:
    clips = raw / "clips"
    (clips / "Dark/v_Dark_g01_c02.mp4").write_bytes(b"no film")
    (clips / "Dark/._v_Dark_g01_c01.mp4").write_bytes(b"what a Mac leaves behind")
    (clips / "README.txt").write_text("two classes")
    write_clip(clips / "Dark/v_Dark_g02_c02.mp4", 10, frames=3)
    write_clip(clips / "Light/v_Light_g02_c02.mp4", 10, side=1100)
    metrics = _prepare(raw, tmp_path / "prepared")
    assert _rejected(tmp_path / "prepared") == {
        "README.txt": "no_class",
        "Dark/v_Dark_g01_c02.mp4": "not_a_clip",
        "Dark/v_Dark_g02_c02.mp4": "too_short",
        "Light/v_Light_g02_c02.mp4": "too_large",
    }
    assert metrics["accepted"] == 10
    assert metrics["rejected_too_short"] == 1


def test_a_class_with_nothing_to_train_on_is_set_aside(raw: Path, tmp_path: Path) -> None:
    store, _ = _stored(raw, tmp_path / "first")
    tested = next(store.value("group", row) for row in range(10) if store.value("split", row) == "test")
    write_clip(raw / "clips/Grey" / f"v_Grey_{tested}_c01.mp4", 90)
    _, description = _stored(raw, tmp_path / "second")
    assert description["classes"] == ["Dark", "Light"]
    assert _rejected(tmp_path / "second") == {f"Grey/v_Grey_{tested}_c01.mp4": "class_not_trained"}


def test_nested_clips_have_the_class_of_the_first_folder_and_their_person_for_a_group(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for label, level in (("Dark", 10), ("Light", 200)):
        for person in range(6):
            for number in range(2):
                write_clip(raw / "clips" / label / f"p{person}/scene/c{number}?.mp4", level)
        write_clip(raw / "clips" / label / "top 100%.mp4", level)
    (raw / "left_out.json").write_text('{"Dark/gone.mp4": "a link to nothing"}')
    with Preparation(tmp_path / "prepared", max_rejected_share=0.9) as output:
        prepare(raw, PrepareParams.model_validate({**PARAMS, "group": "^([^/]+)/"}), output)
    store, description = open_prepared(tmp_path / "prepared")
    assert (description["classes"], len(store)) == (["Dark", "Light"], 26)
    sides: dict[str, set[str]] = {}
    for row in range(26):
        sides.setdefault(store.value("group", row), set()).add(store.value("split", row))
    assert sorted(sides) == [*(f"p{person}" for person in range(6)), "top 100%"]
    assert all(len(side) == 1 for side in sides.values())
    assert set.union(*sides.values()) == {"train", "validation", "test"}
    assert output.metrics()["repaired_no_group"] == 2
    assert output.summary("video", "x") == (
        "warning: video: 26 clips; rejected 1 of 27 clips (3.7 %): left_out 1 (Dark/gone.mp4: a link to nothing); "
        "repaired 2 no_group (Dark/top 100%.mp4: split by itself) — see x"
    )


def _stored(raw: Path, output: Path):
    _prepare(raw, output)
    return open_prepared(output)


def test_the_official_lists_split_clips_however_deep_they_lie(raw: Path, tmp_path: Path) -> None:
    (raw / "clips").rename(raw / "UCF-101")
    (raw / "clips").mkdir()
    (raw / "UCF-101").rename(raw / "clips/UCF-101")
    (raw / "ucfTrainTestlist").mkdir()
    for split, numbers in (("train", (1, 2, 3)), ("test", (4,))):
        lines = [
            f"{c}/v_{c}_g{n:02d}_c01.mp4{' 1' * (split == 'train')}\r\n" for c in ("Dark", "Light") for n in numbers
        ]
        (raw / "ucfTrainTestlist" / f"{split}list03.txt").write_bytes("".join(lines).encode())
    _prepare(raw, tmp_path / "prepared", split="ucf101_3")
    store, description = open_prepared(tmp_path / "prepared")
    assert description["clips"] == {"train": 4, "validation": 2, "test": 2}
    assert [store.value("id", row) for row in store.rows("test")] == [
        "UCF-101/Dark/v_Dark_g04_c01.mp4",
        "UCF-101/Light/v_Light_g04_c01.mp4",
    ]
    assert set(_rejected(tmp_path / "prepared").values()) == {"not_listed"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_frames": 101}, "min_frames of at most max_decoded_frames"),
        ({"group": "g[0-9]+"}, "empty, or a regular expression with one pair of parentheses; this one has 0"),
        ({"group": "(g"}, "this one has an error"),
        ({"split": "ucf101_4"}, "'ucf101_3'"),
        ({"min_frames": 1}, "greater than or equal to 2"),
    ],
)
def test_mistakes_in_prepare_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PrepareParams.model_validate({**PARAMS, **changes})


def test_the_last_output_of_two_directions_is_refused() -> None:
    from tests.unit.test_video_model import MODEL

    with pytest.raises(ValidationError, match="another pooling than last"):
        ModelParams.model_validate({**MODEL, "bidirectional": True, "pooling": "last"})


def test_the_truncation_of_two_directions_is_refused() -> None:
    from tests.unit.test_video_model import MODEL

    with pytest.raises(ValidationError, match="truncation 0 where bidirectional is true; found 4"):
        ModelParams.model_validate({**MODEL, "bidirectional": True, "pooling": "mean", "truncation": 4})

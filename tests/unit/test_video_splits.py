"""Whole groups go to one side, and the official lists are read as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.tasks.video.data.layout import Place, places_of, read_list
from stages.tasks.video.prepare.splits import read_official, split_by_group, split_officially


@pytest.mark.parametrize(
    ("clips", "labels"),
    [
        (["Punch/a.avi", "Tai Chi/b.avi"], ["Punch", "Tai Chi"]),
        (["UCF-101/Punch/v_g08_c01.avi", "UCF-101/Jump/a.avi", "README.txt"], ["Punch", "Jump", ""]),
        (["x/UCF/README", "x/UCF/Punch/a.avi", "x/UCF/Jump/p1/b.avi"], ["", "Punch", "Jump"]),
        (["run/p1/c.mp4", "run/top.mp4", "sit/p1/scene 2/c.mp4"], ["run", "run", "sit"]),
        (["train/run/c.mp4", "train/sit/c.mp4"], ["run", "sit"]),
        (["run/p1/c.mp4", "clip.avi"], ["p1", ""]),
    ],
)
def test_the_class_is_the_first_folder_below_those_that_hold_all(clips: list[str], labels: list[str]) -> None:
    places = places_of(clips)
    assert [places[clip].label for clip in clips] == labels


def test_what_a_class_is_divided_into_is_no_class_where_the_class_was_asked_for() -> None:
    assert places_of(["run/p1/c.mp4", "run/p2/c.mp4"], ["run"])["run/p2/c.mp4"] == Place("run", "p2/c.mp4")


def test_a_publishers_splits_are_no_classes() -> None:
    with pytest.raises(
        ValueError, match=r"found the folders Test, train, which are .* splits; allowed: CLASS/clip.ext"
    ):
        places_of(["train/run/a.mp4", "Test/run/b.mp4", "notes/c.txt"])


def test_no_group_stands_on_two_sides_and_the_shares_are_met() -> None:
    groups = {
        f"{label}/v_{label}_g{g:02d}_c{c:02d}.avi": f"g{g:02d}" for label in "AB" for g in range(20) for c in (1, 2)
    }
    splits = split_by_group(groups, validation_share=0.1, test_share=0.25, seed=1)
    sides: dict[str, set[str]] = {}
    for clip, split in splits.items():
        sides.setdefault(groups[clip], set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    # 80 clips, 4 in each group: 5 groups to test, 2 to validation.
    assert sorted(splits.values()).count("test") == 20
    assert sorted(splits.values()).count("validation") == 8


def test_a_further_group_moves_few_of_the_others() -> None:
    groups = {f"A/{number}": f"g{number}" for number in range(100)}
    before = split_by_group(groups, validation_share=0.1, test_share=0.2, seed=1)
    after = split_by_group({**groups, "A/new": "gnew"}, validation_share=0.1, test_share=0.2, seed=1)
    assert sum(before[clip] != after[clip] for clip in groups) <= 2


def test_two_groups_cannot_make_three_splits() -> None:
    with pytest.raises(ValueError, match=r"4 clips in 2 groups \(g1, g2\).*at least 3 groups.*prepare.group"):
        split_by_group({"a": "g1", "b": "g1", "c": "g2", "d": "g2"}, validation_share=0.1, test_share=0.1, seed=1)


def test_official_lists_decide_and_validation_comes_from_their_training_clips(tmp_path: Path) -> None:
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    names = [f"Punch/v_Punch_g{g:02d}_c01.avi" for g in range(1, 9)]
    (lists / "trainlist02.txt").write_bytes("".join(f"{n} 71\r\n" for n in names[2:]).encode())
    (lists / "testlist02.txt").write_bytes("".join(f"{n}\r\n" for n in names[:2]).encode())
    groups = {name: name for name in [*names, "Punch/v_Punch_g09_c01.avi"]}
    splits = split_officially(groups, read_official(tmp_path, 2), validation_share=0.34, seed=1)
    assert [splits[n] for n in names[:2]] == ["test", "test"]
    assert sorted(splits[n] for n in names[2:]) == ["train"] * 4 + ["validation"] * 2
    assert "Punch/v_Punch_g09_c01.avi" not in splits
    with pytest.raises(ValueError, match="found ucf101_1, but there is no .*testlist01|trainlist01"):
        read_official(tmp_path, 1)


def test_a_damaged_list_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "testlist01.txt"
    path.write_bytes(b"Punch/v_Punch_g01_c01.avi\r\n\r\n../../etc/passwd\r\n")
    with pytest.raises(ValueError, match=r"testlist01.txt, line 3: found '../../etc/passwd'; allowed: CLASS/clip.avi"):
        read_list(path)
    path.write_bytes(b"Punch/v_Punch_g01_c01.avi" + b" " * 2000 + b"../x.avi\n")
    with pytest.raises(ValueError, match=r"testlist01.txt, line 1: found a line of more than 1,024 characters"):
        read_list(path)


def test_a_clip_on_both_sides_is_refused(tmp_path: Path) -> None:
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("Punch/a.avi 1\n")
    (lists / "testlist01.txt").write_text("Punch/a.avi\n")
    with pytest.raises(ValueError, match="Punch/a.avi is in the train list, too"):
        read_official(tmp_path, 1)


def test_a_list_is_read_by_its_mark_and_a_bad_byte_has_its_place(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "list.txt").write_bytes("Müll/a.avi 1\r\nB/b.avi\r\n".encode(encoding))
        assert read_list(tmp_path / "list.txt") == ["Müll/a.avi", "B/b.avi"]
    (tmp_path / "list.txt").write_bytes(b"A/a.avi\nM\xfcll/b.avi\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: found byte 0xfc at 1 after 'M'; allowed: UTF-8; iconv"):
        read_list(tmp_path / "list.txt")

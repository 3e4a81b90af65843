"""Corrections are kept once, whole and where they belong, whoever sends them and whatever stops their writer."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from stages.feedback.correction import FeedbackError, Limits
from stages.feedback.feedback import Feedback
from stages.tasks.protocol import Task
from stages.tasks.sketch.data.parse import MAX_INPUT_POINTS

NOON = datetime(2026, 12, 2, 12, 0, 5, tzinfo=UTC)
CLASSES = ("clock", "cup")
SQUARE = [[[0, 255, 255, 0], [0, 0, 255, 255]], [[10.0, 20.256], [0, 9]]]
MP4 = b"\0\0\0\x20ftypisom" + bytes(50)
FORK = multiprocessing.get_context("fork")  # which imports nothing anew


def feedback(folder: Path, task: str = "sketch", *, limits: Limits | None = None, now: datetime = NOON) -> Feedback:
    return Feedback(folder, task, CLASSES, limits=limits, now=lambda: now)


def drawing(word: str = "clock", strokes: Any = SQUARE, **changes: Any) -> dict[str, Any]:
    return {"word": word, "drawing": strokes, "recognized": False, **changes}


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_drawing_is_kept_as_quick_draw_writes_one(tmp_path: Path) -> None:
    assert feedback(tmp_path).add(drawing()) == "kept"
    ((name, line),) = files(tmp_path).items()
    assert name == "sketch/2026-12-02.ndjson"
    assert line.endswith(b',"drawing":[[[0,255,255,0],[0,0,255,255]],[[10,20.26],[0,9]]]}\n')
    row = json.loads(line)
    assert list(row) == ["word", "countrycode", "timestamp", "recognized", "key_id", "drawing"]
    assert (row["word"], row["countrycode"], row["recognized"]) == ("clock", "", False)
    assert row["timestamp"] == "2026-12-02 12:00:05.00000 UTC"
    assert 0 < int(row["key_id"]) < 2**64


def test_the_key_is_of_the_strokes_alone(tmp_path: Path) -> None:
    kept = feedback(tmp_path)
    kept.add(drawing("clock"))
    kept.add(drawing("cup", recognized=True))
    kept.add(drawing("cup", SQUARE[:1]))
    keys = [json.loads(line)["key_id"] for line in files(tmp_path)["sketch/2026-12-02.ndjson"].splitlines()]
    assert keys[0] == keys[1] != keys[2]


def test_a_translation_is_a_line_of_two_texts_whatever_is_typed(tmp_path: Path) -> None:
    feedback(tmp_path, "translation").add({"source": " a\tdog\n", "target": "ein\r\nHund\u2028 cafe\u0301\ud800"})
    assert files(tmp_path) == {"translation/2026-12-02.tsv": "a dog\tein Hund café\n".encode()}


def test_a_clip_lies_in_the_folder_of_its_label(tmp_path: Path) -> None:
    kept = feedback(tmp_path, "video")
    assert kept.add({"label": "clock", "clip": MP4}) == "kept"
    (tmp_path / "sent").write_bytes(MP4)
    assert kept.add({"label": "clock", "clip": tmp_path / "sent"}) == "known"
    ((name, content),) = files(tmp_path / "video").items()
    assert (name[:17], name[-4:], content) == ("clock/2026-12-02-", ".mp4", MP4)


def test_a_clip_is_kept_once_although_its_label_becomes_a_class(tmp_path: Path) -> None:
    record = {"label": "a. cup", "clip": MP4}
    assert Feedback(tmp_path, "video", ["clock"]).add(record) == "kept"
    assert Feedback(tmp_path, "video", ["clock", "a. cup"]).add(record) == "known"
    long = {"label": "é" * 60, "clip": MP4}  # too long a name for a folder below `other/`, and a class all the same
    assert Feedback(tmp_path, "video", ["é" * 60]).add(long) == "kept"


def test_a_made_drawing_is_kept_with_what_became_of_it(tmp_path: Path) -> None:
    record = {"label": "cup", "drawing": SQUARE, "temperature": 0.6, "kept": True}
    kept = feedback(tmp_path, "drawing")
    assert [kept.add(record), kept.add(record), kept.add({**record, "kept": False})] == ["kept", "known", "kept"]
    rows = [json.loads(line) for line in files(tmp_path)["drawing/2026-12-02.ndjson"].splitlines()]
    assert [(row["label"], row["kept"], row["temperature"], "word" in row) for row in rows] == [
        ("cup", True, 0.6, False),
        ("cup", False, 0.6, False),
    ]


def test_a_forecast_takes_no_corrections(tmp_path: Path) -> None:
    assert [name for name in Task.names() if not Task(name).has_corrections] == ["forecast"]
    with pytest.raises(ValueError, match="forecast has no forecast/corrections.py"):
        Feedback(tmp_path, "forecast")


@pytest.mark.parametrize(
    ("task", "record"),
    [
        ("sketch", drawing()),
        ("sketch", drawing("no class")),
        ("translation", {"source": "a", "target": "b"}),
        ("video", {"label": "cup", "clip": MP4}),
        ("video", {"label": "no class", "clip": MP4}),
        ("drawing", {"label": "cup", "drawing": SQUARE, "temperature": 1, "kept": False}),
    ],
)
def test_the_same_is_kept_once_also_after_a_restart_and_on_another_day(
    tmp_path: Path, task: str, record: dict[str, Any]
) -> None:
    assert feedback(tmp_path, task).add(record) == "kept"
    before = files(tmp_path)
    assert feedback(tmp_path, task, now=NOON + timedelta(days=1)).add(record) == "known"
    assert files(tmp_path) == before


def test_what_another_process_has_kept_is_known(tmp_path: Path) -> None:
    one, other = feedback(tmp_path), feedback(tmp_path)
    assert [one.add(drawing()), other.add(drawing()), other.add(drawing("cup")), one.add(drawing("cup"))] == [
        *("kept", "known", "kept", "known")
    ]


def test_a_file_that_was_taken_away_is_forgotten(tmp_path: Path) -> None:
    kept = feedback(tmp_path)
    kept.add(drawing())
    (tmp_path / "sketch/2026-12-02.ndjson").unlink()
    assert kept.add(drawing()) == "kept"


@pytest.mark.parametrize("label", ["../../up", "a/b", "..", ".hidden", "C:\\x", "ä b%", "other", "con"])
def test_no_label_is_a_path(tmp_path: Path, label: str) -> None:
    assert feedback(tmp_path / "in", "video").add({"label": label, "clip": MP4}) == "kept"
    assert feedback(tmp_path / "in").add(drawing(label)) == "kept"
    names = list(files(tmp_path))
    assert len(names) == 2
    assert {name.count("/") for name in names} == {4, 3}  # in/video/other/LABEL/clip, in/sketch/other/day
    for name in names:
        assert name.startswith(("in/video/other/", "in/sketch/other/2026-12-02.ndjson"))
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-%./")
        assert not any(part.startswith(".") for part in name.split("/"))


def test_a_class_that_is_no_folder_is_refused_where_it_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found the class '../up'"):
        Feedback(tmp_path, "video", ["../up"])


@pytest.mark.parametrize(
    ("task", "record", "message"),
    [
        ("sketch", {}, "found nothing; allowed: exactly the keys word, drawing, recognized"),
        ("sketch", drawing(path="/etc/passwd"), "found 'drawing', 'path', 'recognized', 'word'"),
        ("sketch", ["clock"], "found list"),
        ("sketch", drawing("x\ny"), "found a label of 3 characters; allowed: 1 to 80, all of them printable"),
        ("sketch", drawing("\ud800"), "found a label of 1 character"),
        ("sketch", drawing(" "), "found a label of 0 characters"),
        ("sketch", drawing("x" * 81), "found a label of 81 characters"),
        ("sketch", drawing(recognized=1), "recognized: found int; allowed: bool"),
        ("sketch", drawing(strokes=[]), "drawing: a drawing without points"),
        ("sketch", drawing(strokes=[[[1, 1], [2, 2]]]), "drawing: all points are in the same place"),
        (
            "sketch",
            drawing(strokes=[[[1, float("nan")], [2, 2]]]),
            "drawing: found a value that is not a number up to ±1e",
        ),
        (
            "sketch",
            drawing(strokes=[[[1, 2], [2, 3], [0, float("inf")]]]),
            "drawing: found a value that is not a number up to ±1e",
        ),
        ("sketch", drawing(strokes=[[[1, 2e9], [2, 2]]]), "drawing: found a value that is not a number up to ±1e"),
        ("sketch", drawing(strokes=[[[1, "2"], [2, 2]]]), "drawing: a coordinate or a time is not a number"),
        ("sketch", drawing(strokes=[[[1, 10**400], [2, 2]]]), "drawing: a coordinate or a time is not a number"),
        ("sketch", drawing(strokes=[[[0] * (MAX_INPUT_POINTS + 1)] * 2]), "drawing: 50001 points"),
        ("sketch", drawing(strokes=[[[0.123 + n for n in range(40_000)]] * 2]), "bytes; allowed: 262,144"),
        ("translation", {"source": "a", "target": " \t\u200b"}, "target: found no text"),
        ("translation", {"source": "a" * 4001, "target": "b"}, "source: found 4,001 characters"),
        ("translation", {"source": "a", "target": None}, "target: found NoneType; allowed: str"),
        # What begins so is no text to preparation, where it is the first line of its day.
        ("translation", {"source": "BZh9", "target": "b"}, "source: found bzip2; allowed: text"),
        ("translation", {"source": "\u200bPAR1", "target": "b"}, "source: found Parquet; allowed: text"),
        ("video", {"label": "cup", "clip": "/etc/passwd"}, "clip: found str; allowed: bytes or Path"),
        ("video", {"label": "cup", "clip": b"#!/bin/sh"}, "clip: not a video container"),
        ("video", {"label": "cup", "clip": Path("/dev/zero")}, "clip: found no file"),
        ("video", {"label": "cup", "clip": Path("/nowhere")}, "clip: cannot be read: No such file"),
        ("video", {"label": "é" * 60, "clip": MP4}, "found a label of 360 characters when percent-encoded"),
        (
            "drawing",
            {"label": "cup", "drawing": SQUARE, "temperature": 1e9, "kept": True},
            "temperature: found 1000000",
        ),
        ("drawing", {"label": "cup", "drawing": SQUARE, "temperature": True, "kept": True}, "temperature: found bool"),
    ],
)
def test_what_is_no_correction_is_refused_and_leaves_nothing(
    tmp_path: Path, task: str, record: Any, message: str
) -> None:
    kept = feedback(tmp_path, task)
    with pytest.raises(FeedbackError, match=message):
        kept.add(record)
    assert files(tmp_path) == {}


def test_a_record_a_day_and_the_folder_are_bounded(tmp_path: Path) -> None:
    line = len("a\tb\n")
    limits = Limits(record=2 * line, day=2 * line, folder=3 * line)

    def add(source: str, day: int = 0) -> str:
        own = feedback(tmp_path, "translation", limits=limits, now=NOON + timedelta(days=day))
        return own.add({"source": source, "target": "b"})

    with pytest.raises(FeedbackError, match="found 14 bytes; allowed: 8"):
        add("a" * 11)
    assert [add("a"), add("c")] == ["kept", "kept"]
    with pytest.raises(FeedbackError, match="today's corrections have 8 bytes already; allowed: 8"):
        add("d")
    assert add("d", day=1) == "kept"
    with pytest.raises(FeedbackError, match="all corrections have 12 bytes already; allowed: 12"):
        add("e", day=2)
    assert add("a", day=2) == "known"


def test_clips_are_bounded_by_day_and_folder(tmp_path: Path) -> None:
    limits = Limits(record=100, day=130, folder=200)
    kept = feedback(tmp_path, "video", limits=limits)
    kept.add({"label": "cup", "clip": MP4})
    kept.add({"label": "of no class", "clip": MP4})
    with pytest.raises(FeedbackError, match="today's corrections have 124 bytes already; allowed: 130"):
        kept.add({"label": "clock", "clip": MP4})
    feedback(tmp_path, "video", limits=limits, now=NOON + timedelta(days=1)).add({"label": "clock", "clip": MP4})
    with pytest.raises(FeedbackError, match="all corrections have 186 bytes already; allowed: 200"):
        feedback(tmp_path, "video", limits=limits, now=NOON + timedelta(days=2)).add(
            {"label": "cup", "clip": MP4 + b"x"}
        )


def test_half_a_line_is_cut_off_said_and_kept_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = feedback(tmp_path)
    kept.add(drawing())
    path = tmp_path / "sketch/2026-12-02.ndjson"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    feedback(tmp_path)
    assert path.read_bytes() == whole
    assert (tmp_path / "sketch/.torn").read_bytes() == whole[:40] + b"\n"
    said = capsys.readouterr().err
    assert "2026-12-02.ndjson: ended in an incomplete line of 40 bytes, whose writer was stopped; moved to" in said
    assert kept.add(drawing("cup")) == "kept"
    assert path.read_bytes().startswith(whole + b'{"word":"cup"')


def test_a_record_that_lacks_its_line_end_alone_is_kept_whole(tmp_path: Path) -> None:
    kept = feedback(tmp_path)
    kept.add(drawing())
    path = tmp_path / "sketch/2026-12-02.ndjson"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    again = feedback(tmp_path)
    assert path.read_bytes() == whole
    assert again.add(drawing()) == "known"
    assert not (tmp_path / "sketch/.torn").exists()


@pytest.mark.parametrize("task", ["sketch", "translation"])
def test_a_file_by_another_hand_is_never_changed(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / task).mkdir()
    path = tmp_path / task / f"mine{'.ndjson' if task == 'sketch' else '.tsv'}"
    record = drawing() if task == "sketch" else {"source": "one", "target": "eins"}
    other = drawing("cup") if task == "sketch" else {"source": "two", "target": "zwei"}
    path.write_bytes(b'{"word":"cup"}' if task == "sketch" else b"one\teins")
    before = path.read_bytes()
    kept = feedback(tmp_path, task)
    assert [kept.add(record), kept.add(other)] == ["kept", "kept"]
    assert path.read_bytes() == before
    said = f"unroll: {path}: the last line has no line end and is ignored until it has one\n"
    assert capsys.readouterr().err == said


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = feedback(tmp_path)
    kept.add(drawing())
    before, write = files(tmp_path), os.write

    def full(descriptor: int, content: Any) -> int:
        if len(content) < 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[:50])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FeedbackError, match="cannot be kept: No space left on device"):
        kept.add(drawing("cup"))
    monkeypatch.undo()
    assert files(tmp_path) == before
    assert kept.add(drawing("cup")) == "kept"


def test_a_correction_is_on_the_disk_before_it_is_called_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    feedback(tmp_path).add(drawing())
    assert synced == [tmp_path / "sketch/2026-12-02.ndjson", *[tmp_path / "sketch"] * 2]


def test_an_unfinished_clip_is_deleted_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feedback(tmp_path, "video")
    (tmp_path / "video/.unfinished.mp4").write_bytes(b"half")
    feedback(tmp_path, "video")
    assert files(tmp_path) == {}
    assert "deleted an incomplete clip of 4 bytes, whose writer was stopped" in capsys.readouterr().err


def _write(folder: Path, first: int, told: Connection) -> None:
    kept = Feedback(folder, "translation")
    for number in range(first, first + 100_000):
        kept.add({"source": f"{number} " + "x" * 3000, "target": f"t{number}"})
        told.send(number)


def test_however_often_its_writer_is_killed_nothing_that_was_kept_is_lost_or_halved(tmp_path: Path) -> None:
    dice = random.Random(1)
    told: set[int] = set()
    for start in range(25):
        receive, send = FORK.Pipe(duplex=False)
        writer = FORK.Process(target=_write, args=(tmp_path, 1000 * start, send))
        writer.start()
        send.close()
        told.add(receive.recv())
        time.sleep(dice.uniform(0, 0.05))
        writer.kill()
        writer.join()
        while receive.poll():
            try:
                told.add(receive.recv())
            except EOFError:
                break
    Feedback(tmp_path, "translation")
    lines = [line for path in (tmp_path / "translation").glob("*.tsv") for line in path.read_bytes().splitlines()]
    numbers = Counter(int(line.split(b" ")[0]) for line in lines)
    assert all(line == f"{int(line.split()[0])} {'x' * 3000}\tt{int(line.split()[0])}".encode() for line in lines)
    assert told <= numbers.keys()
    assert set(numbers.values()) == {1}


def _write_words(folder: Path, numbers: list[int]) -> None:
    kept = Feedback(folder, "translation")
    for number in numbers:
        kept.add({"source": f"s{number}", "target": "t"})


def test_two_writers_keep_what_either_has_once(tmp_path: Path) -> None:
    writers = [FORK.Process(target=_write_words, args=(tmp_path, [*range(n, n + 60)])) for n in (0, 30)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    lines = [line for content in files(tmp_path).values() for line in content.decode().splitlines()]
    assert sorted(lines) == sorted(f"s{number}\tt" for number in range(90))

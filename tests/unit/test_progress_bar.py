"""Long work shows where it is: a bar on a terminal, at most a line a minute in a log."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest

from stages import progress_bar
from stages.progress_bar import BYTES, ProgressBar, busy, duration, track


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)


def lines_of(count: int, seconds: float, *, unit: str = "clips", total: int | None = None, done: int = 0) -> list[str]:
    """What a log is told while `count` items take so many seconds each."""
    clock = Clock()
    lines: list[str] = []
    with ProgressBar("decode", unit=unit, total=total, done=done, say=lines.append, clock=clock) as bar:
        for _ in range(count):
            clock.now += seconds
            bar.update()
    return lines


def test_a_log_has_a_line_a_minute_that_says_how_much_is_done_and_left() -> None:
    assert lines_of(300, 0.5, total=1000) == [
        "decode: 120 of 1,000 clips, about 7 min left",
        "decode: 240 of 1,000 clips, about 6 min left",
    ]


def test_what_takes_less_than_a_minute_says_nothing() -> None:
    assert lines_of(59, 1.0, total=59) == []


def test_what_was_there_before_tells_nothing_of_the_speed() -> None:
    assert lines_of(1, 60.0, total=102, done=100) == ["decode: 101 of 102 clips, about 60 s left"]


def test_without_a_total_the_time_stands_in_its_place() -> None:
    assert lines_of(1, 150.0) == ["decode: 1 clips in 2 min"]


def test_bytes_are_told_in_megabytes() -> None:
    clock = Clock()
    lines: list[str] = []
    bar = ProgressBar("download", unit=BYTES, total=400 * 2**20, say=lines.append, clock=clock)
    clock.now += 60
    bar.update(100 * 2**20)
    assert lines == ["download: 100.0 of 400.0 MB, about 3 min left"]


def test_a_log_gets_no_bar_and_other_ranks_say_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        bar = ProgressBar("predict", unit="batches", total=2, clock=clock)
        clock.now += 61
        bar.update()
    assert capsys.readouterr().err == "predict: 1 of 2 batches, about 61 s left\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(track(iter("abc"), "decode", unit="clips", total=3)) == ["a", "b", "c"]
    assert "decode" in terminal.getvalue()
    assert "0/3" in terminal.getvalue()
    with ProgressBar("decode", unit="clips", quiet=True) as bar:
        before = terminal.getvalue()
        bar.update()
    assert terminal.getvalue() == before


def test_track_counts_what_has_been_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(ProgressBar, "update", lambda self, count=1: counted.append(count))
    items: Iterator[int] = track([1, 2], "decode", unit="clips")
    next(items)
    assert counted == []
    next(items)
    assert counted == [1]


def test_what_counts_nothing_tells_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "_REFRESH", 0.001)
    monkeypatch.setattr(progress_bar, "_SECONDS", 0.0)
    lines: list[str] = []
    with busy("the registry", say=lines.append):
        while len(lines) < 2:
            pass
    told = len(lines)
    assert set(lines) == {"the registry: 0 s so far"}
    assert len(lines) == told


def test_seconds_in_words() -> None:
    assert [duration(seconds) for seconds in (40, 180, 9000)] == ["40 s", "3 min", "2.5 h"]

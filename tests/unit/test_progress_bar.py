"""Long work shows where it is: a bar on a terminal, at most a line a minute in a log."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from flows.reports import report
from flows.server.servers import Servers
from stages import progress_bar
from stages.preprocessing.preparation import Preparation
from stages.progress_bar import BYTES, ProgressBar, busy, duration, track
from stages.tasks.forecast.evaluate import baselines
from stages.tasks.video.params import PrepareParams
from stages.tasks.video.prepare import prepare as video_prepare
from stages.tasks.video.prepare.prepare import prepare as prepare_video
from tests.unit.test_forecast_prepare import csv_of, days, prepared
from tests.unit.test_video_prepare import PARAMS
from tests.unit.video_clips import write_clip


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


@pytest.fixture
def each_update_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "_SECONDS", 0.0)


def test_all_long_work_goes_through_here() -> None:
    root = Path(__file__).resolve().parents[2]
    files = [file for folder in ("stages", "flows") for file in (root / folder).rglob("*.py")]
    assert [file.name for file in files if "tqdm" in file.read_text(encoding="utf-8")] == ["progress_bar.py"]


@pytest.mark.usefixtures("each_update_is_told")
def test_the_preparations_tell_a_log_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(csv_of(tmp_path / "raw", days(100)), tmp_path / "forecast", id_column="id")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 100
    assert told[41].startswith(f"{next((tmp_path / 'raw').glob('*.csv')).name}: 42 values in ")

    for number in range(1, 6):
        write_clip(tmp_path / "clips/clips/Dark" / f"v_g{number:02d}_c01.mp4", 10, frames=8)
    monkeypatch.setattr(
        video_prepare, "ordered_map", lambda function, items, processes: ((i, function(i)) for i in items)
    )
    with Preparation(tmp_path / "video", max_rejected_share=0.9) as preparation:
        prepare_video(tmp_path / "clips", PrepareParams.model_validate({**PARAMS, "group": "(g[0-9]+)"}), preparation)
    assert [line.partition(", about")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"decode: {number} of 5 clips" for number in range(1, 6)
    ]


@pytest.mark.usefixtures("each_update_is_told")
def test_fits_of_a_baseline_are_told_as_they_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Pool:
        """One process: a fit is done when it is asked for."""

        def __init__(self, processes: int, mp_context: object) -> None:
            pass

        def submit(self, function: object, name: str, histories: Sequence[np.ndarray]) -> SimpleNamespace:
            forecasts = np.stack([history[-7:] for history in histories])
            return SimpleNamespace(done=lambda: False, result=lambda: (forecasts, 1))

        def shutdown(self, *, cancel_futures: bool) -> None:
            pass

    monkeypatch.setattr(baselines, "ProcessPoolExecutor", Pool)
    histories = [np.arange(first, first + 30.0) for first in range(20)]
    with baselines.statistics_in_background(["autoets"], histories, processes=1) as result:
        forecasts, failed = result("autoets")
    assert failed == 3
    assert np.array_equal(forecasts, [history[-7:] for history in histories])
    told = [line.partition(", about")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == [f"AutoETS: {done} of 20 fits" for done in (8, 16, 20)]


def test_a_flow_says_what_it_does_after_its_last_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "_SECONDS", 0.0)
    monkeypatch.setattr(progress_bar, "_REFRESH", 0.001)
    lines: list[str] = []

    class Registry:
        def ask(self) -> None:
            pass

        def answer(self, stop: threading.Event) -> str:
            while len(lines) < 3:  # a line of what comes, and one a minute
                time.sleep(0.001)
            stop.set()
            return "stopped"

    log = SimpleNamespace(info=lines.append)
    monkeypatch.setattr(report, "get_run_logger", lambda: log)
    monkeypatch.setattr(report, "registry_process", lambda root, environment: Registry())
    reporter = report.Reporter(Path(), stop=threading.Event())
    reporter._registry = cast(Any, Registry())
    reporter.finish({})
    assert lines[0].startswith("all stages have ended; ")
    assert set(lines[1:]) == {"the report: 0 s so far"}


def test_servers_say_which_of_them_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    servers = Servers(tmp_path, prefect_port=1, mlflow_port=2)
    servers.folder.mkdir()
    servers._start("prefect", [sys.executable, "-c", ""], {})
    assert capsys.readouterr().err == "starting prefect; its log is .prefect/prefect.log …\n"

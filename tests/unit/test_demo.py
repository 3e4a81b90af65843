"""What the page makes of a visitor's input before any model sees it, and whom it lets hand in corrections."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from flows.demo import corrections, guard, pictures
from flows.demo.__main__ import takes_corrections
from flows.demo.corrections import Corrections, Refusal
from flows.demo.files import MAX_BYTES, MAX_LINE, read_frame, read_records, require_readable
from flows.demo.models import Models, Refused, Version, aliases
from flows.demo.strokes import MAX_POINTS, MAX_STROKES, MAX_TEXT, BadStrokes, parse, prefixes


def test_a_drawing_is_read_as_it_was_drawn():
    assert parse("[[[0, 1.5], [2, 3], [0, 16]], [[4], [5], [40]]]") == [[[0, 1.5], [2, 3], [0, 16]], [[4], [5], [40]]]
    assert parse("[]") == parse("") == parse(None) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "not JSON"),
        ("{", "not JSON"),
        ('{"a": 1}', "found dict"),
        ("[[[0], [0]], 7]", "a stroke that is not"),
        ("[[[0]]]", "a stroke that is not"),
        ("[[[], []]]", "empty or differ in length"),
        ("[[[0, 1], [0]]]", "empty or differ in length"),
        ('[[["<b>"], [0]]]', "a value that is not a number"),
        ("[[[true], [0]]]", "a value that is not a number"),
        ("[[[NaN], [0]]]", "a value that is not a number"),
        ("[[[1e300], [0]]]", "a value that is not a number"),
        (json.dumps([[[0], [0]]] * (MAX_STROKES + 1)), f"{MAX_STROKES + 1} strokes"),
        (json.dumps([[[0] * (MAX_POINTS + 1)] * 2]), "10,001 points"),
        (" " * (MAX_TEXT + 1), "524,289 characters"),
        (17, "found int"),
        ("[[[0, 1], [0, 1], [0, 16]], [[4], [5]]]", "strokes with times and others without"),
    ],
)
def test_what_is_no_drawing_is_refused_with_a_reason(text, reason):
    with pytest.raises(BadStrokes, match=reason):
        parse(text)


def test_a_drawing_is_cut_where_it_stood_at_each_moment():
    strokes = parse("[[[0, 1], [0, 1], [100, 200]], [[2, 3], [2, 3], [1100, 2100]]]")
    assert list(prefixes(strokes, 2)) == [(0.1, strokes[:1]), (2.0, strokes)]
    assert list(prefixes(strokes, 100))[-1] == (2.0, strokes)
    untimed = [[xs, ys] for xs, ys, _ in strokes]
    assert [moment for moment, _ in prefixes(untimed, 4)] == [0.5, 0.75, 1.0]
    assert list(prefixes([[[5], [5]]], 12)) == [(1.0, [[[5], [5]]])]


class Kept:
    """A store in memory."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def add(self, record: Any) -> str:
        if record.get("word") == "bad":
            raise ValueError("no such word")
        if record in self.records:
            return "known"
        self.records.append(record)
        return "kept"


def test_corrections_are_bounded_by_the_minute_and_by_the_day(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    store = Kept()
    taking = Corrections(lambda task, classes: store, clock=lambda: now.seconds)
    assert all(taking.add("sketch", (), {"word": str(number)}) for number in range(corrections.MAX_A_MINUTE))
    with pytest.raises(Refusal, match="within a minute"):
        taking.add("sketch", (), {"word": "one more"})
    now.seconds = 61
    assert taking.add("sketch", (), {"word": "one more"})
    assert not taking.add("sketch", (), {"word": "one more"})
    monkeypatch.setattr(corrections, "MAX_A_DAY", corrections.MAX_A_MINUTE + 2)
    now.seconds = 200
    with pytest.raises(Refusal, match="within a day"):
        taking.add("sketch", (), {"word": "again"})
    now.seconds = 200_000
    assert taking.add("sketch", (), {"word": "again"})


def test_a_correction_that_the_store_refuses_counts_for_nothing():
    store = Kept()
    taking = Corrections(lambda task, classes: store)
    for _ in range(corrections.MAX_A_MINUTE + 1):
        with pytest.raises(Refusal, match="no such word"):
            taking.add("sketch", (), {"word": "bad"})
    assert taking.add("sketch", (), {"word": "good"})


def test_strangers_hand_in_nothing_unless_somebody_says_so():
    assert takes_corrections("auto", "127.0.0.1")
    assert not takes_corrections("auto", "0.0.0.0")
    assert not takes_corrections("auto", "192.168.1.5")
    assert not takes_corrections("off", "127.0.0.1")
    assert takes_corrections("on", "0.0.0.0")
    with pytest.raises(Refusal, match="does not accept corrections"):
        Corrections(None).add("sketch", (), {"word": "x"})


def answered(path: str, content: Any, folder: Path = Path("nowhere")) -> httpx.Response:
    """What an application that reads all of its request answers behind the guard."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=guard.Guard(application, folder))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.post(path, content=content)

    return asyncio.run(ask())


def test_a_request_is_no_larger_than_a_drawing_needs_unless_it_uploads_a_file():
    small, large = b"x" * 1000, b"x" * (guard.MAX_BODY + 1)
    assert answered("/run/predict", small).text == "1000"
    assert answered("/run/predict", large).status_code == 413
    assert answered("/gradio_api/upload", large).text == str(len(large))
    for path in ("/gradio_api/run/upload", "/gradio_api/call/upload", "/upload"):  # names of functions
        assert answered(path, large).status_code == 413

    async def without_a_length():
        for _ in range(5):
            yield b"x" * (guard.MAX_BODY // 4 + 1)

    assert int(answered("/run/predict", without_a_length()).text) <= guard.MAX_BODY


def test_files_of_visitors_have_a_bound_together(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_KEPT", 100)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "clip.mp4").write_bytes(b"x" * 100)
    assert answered("/gradio_api/upload", b"x", tmp_path).status_code == 200
    (tmp_path / "clip.mp4").write_bytes(b"x")
    assert answered("/gradio_api/upload", b"x", tmp_path).status_code == 507
    assert answered("/run/predict", b"x", tmp_path).status_code == 200


def test_the_browser_is_told_to_ask_no_other_host():
    policy = answered("/", b"").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert not [word for word in policy.split() if "://" in word or word == "*"]


def version(predict: Any, params: tuple[str, ...] = ("on_error",), outputs: tuple[str, ...] = ()) -> Version:
    return Version(
        name="toy",
        number="1",
        metric="",
        card="",
        classes=(),
        params=frozenset(params),
        inputs=frozenset(["text", "drawing"]),
        outputs=frozenset(outputs),
        model=SimpleNamespace(predict=predict),
        lock=threading.Lock(),
    )


def test_a_models_own_reason_is_what_a_visitor_reads():
    def refuse(frame, params):
        raise MlflowException("text: found 0 characters")

    with pytest.raises(Refused, match="text: found 0 characters"):
        version(refuse).predict([{"text": ""}])

    def report(frame, params):
        assert list(frame) == ["drawing"]
        assert params == {"on_error": "report", "beam_size": 1}
        return pd.DataFrame({"label": [None], "error": ["drawing: too long"]})

    with pytest.raises(Refused, match="drawing: too long"):
        version(report).predict([{"drawing": 1, "note": 2}], beam_size=1)


def test_a_view_needs_the_param_that_asks_for_it_and_its_column():
    assert version(None, ("attention",), ("tokens", "attention")).offers("attention", "tokens", "attention")
    assert not version(None, (), ("tokens", "attention")).offers("attention", "tokens", "attention")
    assert not version(None, ("attention",), ("tokens",)).offers("attention", "tokens", "attention")


def test_a_choice_that_the_page_does_not_offer_is_the_champions():
    assert aliases("both") == ("champion", "challenger")
    assert aliases("challenger") == ("challenger",)
    assert aliases("../secret") == ("champion",)


class Registry:
    """A registry whose alias a test moves, or that is away."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.away = False

    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        if self.away:
            raise MlflowException("it is away")
        if self.number is None:
            raise MlflowException("no such alias", error_code=1001)  # RESOURCE_DOES_NOT_EXIST
        return SimpleNamespace(name=name, version=self.number)


def test_a_moved_alias_is_loaded_once_and_a_registry_that_is_away_changes_nothing(monkeypatch):
    loaded: list[int] = []

    def load(task: str, found: Any) -> Version:
        loaded.append(found.version)
        return version(None)

    monkeypatch.setattr("flows.demo.models._load", load)
    registry = Registry()
    models = Models(registry, ["sketch"])
    models.refresh()
    assert models.get("sketch", "champion") is None
    assert models.ready
    registry.number = 1
    models.refresh()
    models.refresh()
    assert loaded == [1]  # of both aliases, which name it
    assert models.get("sketch", "champion") is models.get("sketch", "challenger")
    registry.away = True
    models.refresh()
    assert models.get("sketch", "champion") is not None
    assert "it is away" in models.fault
    registry.away = False
    models.refresh()
    assert models.fault == ""


def test_pictures_hold_no_markup_of_others():
    evil = "<script>alert(1)</script>"
    days = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=3), "y": [1.0, 2.0, 3.0]})
    ahead = pd.DataFrame(
        {"ds": pd.date_range("2024-01-04", periods=2), "mean": [3.0, 4], "q05": [2.0, 2], "q95": [5, 6]}
    )
    drawn = [
        pictures.belief(evil, [0.5, 1.0], "1 second", [{evil: 0.2}, {evil: 0.9}]),
        pictures.attention([evil], [evil], [[0.5]]),
        pictures.forecast(days, ahead),
    ]
    assert not any("<script" in picture for picture in drawn)
    assert all(picture.startswith(("<svg", '<p class="caption">')) for picture in drawn)


def test_the_axis_of_a_picture_holds_all_values():
    for low, high in ((0.0, 1.0), (-5.0, 7.3), (3.0, 3.0), (0.0, 0.0), (1e-9, 2e-9), (123456.0, 987654.0)):
        ticks = pictures._ticks(low, high)
        assert ticks[0] <= low
        assert high <= ticks[-1]
        assert 2 <= len(ticks) <= 8


def test_a_file_that_would_take_long_to_read_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "days.csv"
    path.write_bytes(b"ds,y\n" + b"2024-01-01,1\n" * 1000)
    require_readable(path)
    for content, said in (
        (gzip.compress(b"ds,y\n"), "packed with gzip"),
        (b"ds,y" + b",c" * MAX_LINE + b"\n", "found a line of 32,772 bytes; allowed: 16,384"),
        (b"\n" * (MAX_BYTES + 1), "found 20,971,521 bytes; allowed: 20,971,520"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            require_readable(path)


def frame_of(tmp_path: Path, *lines: str) -> pd.DataFrame:
    """What the Forecast tab reads of a CSV with the columns `day` and `sold`."""
    path = tmp_path / "uploaded.csv"
    path.write_text("\n".join(["day,sold", *lines, ""]))
    return read_frame(str(path), "day", "sold", None)


@pytest.mark.parametrize("value", ["1_000", "1,5", "inf", "nan", "1e400", "ten", "١٢"])
def test_a_value_that_no_model_takes_is_named_with_its_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(ValueError, match=f"^line 3: found '{value}' as sold; allowed: a number such as 1234.5, or"):
        frame_of(tmp_path, "2024-01-01,5", f'2024-01-02,"{value}"', "no day,no value")


def test_a_csv_with_other_separators_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "uploaded.csv").write_text("day;sold\n2024-01-01;5,50\n")
    with pytest.raises(ValueError, match="^found one column, 'day;sold'; allowed: .*, separated by commas$"):
        next(read_records(str(tmp_path / "uploaded.csv"), ()))


def test_of_two_faults_the_first_line_s_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^line 3: found 'many' as sold"):
        frame_of(tmp_path, "2024-01-01,5", "2024-01-02,many", "2024-01-03,7,8")
    with pytest.raises(ValueError, match="^line 2: found 3 values for 2 columns"):
        frame_of(tmp_path, "2024-01-03,7,8", "2024-01-02,many")


def test_days_and_values_of_a_csv_are_read_as_they_stand(tmp_path: Path) -> None:
    days = ["2024-01-01T00:30:00+02:00", "2024-01-01 23:30:00-08:00", "2024-01-02"]
    frame = frame_of(tmp_path, *(f"{day}, 1e3" for day in days), "2024-01-03,")
    assert list(frame["ds"]) == [*days, "2024-01-03"]
    assert list(frame["y"].dropna()) == ["1e3"] * 3
    with pytest.raises(ValueError, match=r"^line 2: found '02/01/2024' as day; allowed: a date such as 2015-12-31"):
        frame_of(tmp_path, "02/01/2024,5")

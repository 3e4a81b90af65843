"""The page to try the models on, as a visitor uses it: a headless browser, and models that a real pipeline registered.

Skipped where Gradio is not installed: it has a lock of its own, which `make test-slow` installs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import mlflow
import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from benchmarks.machine import CHROMIUM, free_port, open_browser
from stages.data.prepared import open_prepared
from tests.pipeline.conftest import Clone, finished

from .house import wait_until
from .test_training import overlay

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Request

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.in_order,
    pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is not installed: `deploy/environment.sh dev demo`"),
]

__all__ = ["finished"]  # the fixture

MODEL = "sketch-classifier"
MILLISECONDS = 90_000  # for what a busy machine does
expect.set_options(timeout=MILLISECONDS)


class Demo:
    """The page's process over the registry of a clone."""

    def __init__(self, clone: Clone) -> None:
        self.clone, self.port = clone, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.client = mlflow.MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def feedback(self) -> Path:
        return self.clone.folder / "feedback"

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GRADIO_"))}
        environment |= {"PYTHONPATH": str(self.clone.folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "flows.demo", "--port", str(self.port)]
        with (self.clone.folder / "demo.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.clone.folder, env=environment, stdout=log, stderr=log)
        wait_until(self._answers, "the page", seconds=240)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.clone.folder / "demo.log").read_text()
        try:
            return httpx.get(self.address).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def move(self, alias: str, version: str, *, of: str = MODEL) -> None:
        self.client.set_registered_model_alias(of, alias, version)

    def ask(self, title: str, *inputs: Any) -> httpx.Response:
        """Call, as any client of the address may, the function of the page of this name that waits in no queue."""
        config = httpx.get(f"{self.address}/config").json()
        number = next(f["id"] for f in config["dependencies"] if f["api_name"] == title and not f["queue"])
        body = {"data": list(inputs), "fn_index": number, "session_hash": "stranger"}
        return httpx.post(f"{self.address}/gradio_api/run/predict", json=body, timeout=60)


@pytest.fixture(scope="module")
def demo(finished: tuple[Clone, list[str]]) -> Iterator[Demo]:
    """The page over two versions of the classifier, of which the second, which has learned for longer, is champion,
    and over the newest of the others, of which the generator has learned for long enough to draw lines.
    """
    clone, _ = finished
    longer = {"model": {"hidden_size": 64}, "train": {"epochs": 30, "learning_rate": 0.005}}
    overlay(clone, {"sketch": {"train": {"epochs": 12}}, "drawing": longer})
    assert {"train@sketch", "train@drawing"} <= set(clone.repro("register@sketch", "register@drawing"))
    built = Demo(clone)
    built.move("champion", "2")
    built.move("challenger", "1")
    for name, newest in (
        ("sketch-generator", "2"),
        ("video-classifier", "1"),
        ("translator", "1"),
        ("forecaster", "1"),
    ):
        built.move("champion", newest, of=name)  # so little trained, the gate lets none of them through
    built.start()
    try:
        yield built
    finally:
        built.kill()


@pytest.fixture(scope="module")
def visit(demo: Demo) -> Iterator[Callable[..., Page]]:
    """Opens the page in a browser; at the end, all that its pages have asked for was the page's own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: `apt-get install chromium`")
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    with open_browser() as browser:

        def visit(width: int = 1280, height: int = 1100, **device: Any) -> Page:
            page = browser.new_page(viewport={"width": width, "height": height}, **device)
            page.set_default_timeout(MILLISECONDS)
            page.on("request", note)
            page.goto(demo.address)
            expect(page.get_by_text(f"{MODEL} version 2")).to_be_visible()
            return page

        yield visit
    assert asked
    own = (f"{demo.address}/", "data:", "blob:")
    assert {url for url in asked if not url.startswith(own)} == set()


@pytest.fixture(scope="module")
def page(visit: Callable[..., Page]) -> Page:
    return visit()


@pytest.fixture(scope="module")
def clock(demo: Demo) -> list[list[list[int]]]:
    """Of the sample's clocks, the one that the champion itself is surest of."""
    mlflow.set_tracking_uri(f"sqlite:///{demo.clone.folder / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/2")
    files = (demo.clone.folder / "data" / "sketch" / "raw").rglob("clock.ndjson")
    clocks = [json.loads(line)["drawing"] for line in next(files).read_text().splitlines()]
    answers = model.predict(pd.DataFrame({"drawing": clocks}))
    answers = answers[answers["label"] == "clock"]
    assert len(answers), "the champion of the test knows no clock"
    return clocks[int(answers["probability"].idxmax())]


def on_canvas(page: Page, strokes: list[list[list[int]]]) -> list[list[tuple[float, float]]]:
    """Where the points of strokes of 0 to 255 lie on the page."""
    canvas = page.locator("#pad svg")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    scale, margin = box["width"] * 0.8 / 255, box["width"] * 0.1
    return [
        [(box["x"] + margin + x * scale, box["y"] + margin + y * scale) for x, y in zip(xs, ys, strict=True)]
        for xs, ys, *_ in strokes
    ]


def draw(page: Page, strokes: list[list[list[int]]]) -> None:
    """Draw with the mouse."""
    for places in on_canvas(page, strokes):
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def draw_with_finger(page: Page, strokes: list[list[list[int]]]) -> None:
    """Draw on a touchscreen."""
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y} for x, y in places]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for places in on_canvas(page, strokes):
        touch("touchStart", places[0])
        for place in places[1:]:
            touch("touchMove", place)
        touch("touchEnd")


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def first_label(page: Page) -> Any:
    """The heading of the bars that are shown."""
    return page.get_by_test_id("label-output-value").filter(visible=True)


def upload(page: Page, name: str, text: str) -> None:
    if (remove := page.get_by_label("Clear").filter(visible=True)).count():
        remove.first.click()
    page.locator("input[type=file][accept='.csv']").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": text.encode()}
    )


def test_a_clock_that_is_drawn_with_the_mouse_is_called_a_clock(page: Page, clock: list[list[list[int]]]) -> None:
    draw(page, clock)
    expect(first_label(page)).to_have_text("clock")
    expect(page.locator("#pad polyline")).to_have_count(len(clock))
    expect(page.locator(".chart polyline").first).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#pad polyline")).to_have_count(len(clock) - 1)
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator("#pad polyline")).to_have_count(0)
    expect(first_label(page)).to_have_count(0)


def test_a_clock_that_is_drawn_with_a_finger_is_called_a_clock(
    visit: Callable[..., Page], clock: list[list[list[int]]]
) -> None:
    phone = visit(390, 844, has_touch=True, is_mobile=True)
    phone.locator("#pad svg").scroll_into_view_if_needed()
    before = phone.evaluate("scrollY")
    draw_with_finger(phone, clock)
    expect(first_label(phone)).to_have_text("clock")
    expect(phone.locator("#pad polyline")).to_have_count(len(clock))
    assert phone.evaluate("scrollY") == before, "the page scrolled under the finger"
    phone.close()


def test_a_correction_is_on_the_disk_once(demo: Demo, page: Page, clock: list[list[list[int]]]) -> None:
    draw(page, clock)
    expect(first_label(page)).to_have_text("clock")
    word = page.get_by_label("It was a …")
    word.fill("tree")
    word.press("Enter")
    for said in ("It was saved.", "It had already been saved."):
        page.get_by_role("button", name="Submit").filter(visible=True).click()
        expect(page.get_by_text(said)).to_be_visible()
    (file,) = (demo.feedback / "sketch").glob("*.ndjson")
    (line,) = file.read_text().splitlines()
    row = json.loads(line)
    assert (row["word"], row["recognized"], len(row["drawing"])) == ("tree", False, len(clock))
    page.get_by_role("button", name="Clear", exact=True).click()


def test_an_example_is_drawn_and_named(page: Page) -> None:
    page.get_by_label("An example of").click()
    page.get_by_role("option", name="star").click()
    expect(page.locator("#pad polyline").first).to_be_visible()
    expect(first_label(page)).to_be_visible()


def test_the_challenger_answers_alone_and_beside_the_champion(page: Page) -> None:
    page.get_by_label("challenger").check()
    expect(page.get_by_text(f"{MODEL} version 1")).to_be_visible()
    expect(page.get_by_text(f"{MODEL} version 2")).to_be_hidden()
    page.get_by_label("both").check()
    expect(page.get_by_text(f"{MODEL} version 2")).to_be_visible()
    expect(first_label(page)).to_have_count(2)
    expect(page.locator(".version").filter(visible=True).first).to_contain_text("accuracy")
    page.get_by_role("button", name="Model card").filter(visible=True).first.click()
    expect(page.locator(".card").filter(visible=True).first).to_contain_text("Quick, Draw!")
    page.get_by_label("champion").check()
    expect(first_label(page)).to_have_count(1)


def test_a_champion_that_moves_is_noticed_by_an_open_page(demo: Demo, page: Page) -> None:
    demo.move("champion", "1")
    expect(page.get_by_text(f"{MODEL} version 1")).to_be_visible()
    demo.move("champion", "2")
    expect(page.get_by_text(f"{MODEL} version 2")).to_be_visible()


def test_four_are_drawn_and_one_is_handed_to_the_classifier(page: Page) -> None:
    tab(page, "Drawing")
    page.get_by_role("button", name="Draw four").click()
    for number in range(4):
        expect(
            page.locator(".drawings .shown").filter(visible=True).nth(number).locator("polyline").first
        ).to_be_visible()
    page.locator(".drawings .shown").filter(visible=True).first.click()
    expect(page.locator("#pad polyline").first).to_be_visible()
    expect(first_label(page)).to_be_visible()


def sizes(place: Locator) -> list[int]:
    """How many points each stroke of a canvas has; a stroke of one is drawn as two."""
    drawn = [(line.get_attribute("points") or "").split() for line in place.locator(".shown polyline").all()]
    return [1 if len(points) == 2 and points[0] == points[1] else len(points) for points in drawn]


def test_a_drawing_is_kept_and_another_is_dropped(demo: Demo, page: Page) -> None:
    tab(page, "Drawing")
    places = page.locator(".drawings figure").filter(visible=True)
    known: list[str] = []

    def added() -> list[str]:
        files = (demo.feedback / "drawing").glob("*.ndjson")
        return [line for file in files for line in file.read_text().splitlines() if line not in known]

    for index, word, kept in ((1, "Keep", True), (2, "Drop", False)):
        places.nth(index).get_by_role("button", name=word, exact=True).click()
        (line,) = wait_until(added, f"what {word!r} adds to feedback/")
        known.append(line)
        row = json.loads(line)
        assert (row["kept"], row["temperature"]) == (kept, 0.6)
        assert sizes(places.nth(index)) == [len(stroke[0]) for stroke in row["drawing"]]


def test_a_clip_has_its_frames_and_a_class(page: Page) -> None:
    tab(page, "Video")
    page.locator(".gallery-item").filter(visible=True).first.click()
    expect(first_label(page)).to_be_visible()
    expect(page.locator(".strip img")).to_have_count(8)
    expect(page.locator(".chart").filter(visible=True).locator("polyline")).to_have_count(3)  # also flat ones


def upload_clip(page: Page, name: str, content: bytes) -> None:
    if (remove := page.get_by_label("Clear").filter(visible=True)).count():
        remove.first.click()
    page.locator("input[type=file][accept^=video]").set_input_files(
        {"name": name, "mimeType": "video/mp4", "buffer": content}
    )


def test_a_visitors_own_clip_has_its_frames_and_a_class(demo: Demo, page: Page) -> None:
    clip = next((demo.clone.folder / "data" / "video" / "raw" / "clips").rglob("*.mp4"))
    upload_clip(page, "my: clip.mp4", clip.read_bytes())
    expect(page.locator(".strip img")).to_have_count(8)
    expect(first_label(page)).to_be_visible()


def test_a_broken_clip_is_answered_in_words_without_a_path_of_the_server(demo: Demo, page: Page) -> None:
    upload_clip(page, "my: broken.mp4", b"no clip at all" * 100)
    expect(page.get_by_text("no video container that can be read").first).to_be_visible()
    assert "unroll-demo-" not in page.locator(".toast-wrap").inner_text()
    page.get_by_label("Clear").filter(visible=True).first.click()
    page.locator(".gallery-item").filter(visible=True).first.click()  # for the tests that follow
    expect(first_label(page)).to_be_visible()


def test_a_text_is_translated_and_what_stands_in_it_is_text(page: Page) -> None:
    tab(page, "Translation")
    text = page.get_by_label("Text", exact=True)
    text.fill("<img src=x onerror=\"document.title='hit'\"> 1.2.2003")
    text.press("Enter")
    expect(page.locator(".answer textarea").filter(visible=True)).not_to_have_value("")
    expect(page.get_by_text("Best hypotheses")).to_be_visible()
    assert page.title() == "Unroll"
    picture = page.get_by_role("img", name="How much each token of the translation").filter(visible=True)
    expect(picture.locator("rect").first).to_be_visible()
    written = page.locator(".answer textarea").filter(visible=True).input_value()
    names = picture.locator("text")
    rows = picture.locator("text[text-anchor=end]").all_text_contents()  # the others stand above the columns
    assert "".join(rows).split() == written.split()
    assert picture.locator("rect").count() == len(rows) * (names.count() - len(rows))


def test_a_better_translation_and_the_class_of_a_clip_are_kept(demo: Demo, page: Page) -> None:
    page.get_by_label("Text", exact=True).fill("1 May 2003")
    page.get_by_label("A better translation").fill("2003-05-01")
    page.get_by_role("button", name="Submit").filter(visible=True).click()
    (pairs,) = wait_until(lambda: list((demo.feedback / "translation").glob("*.tsv")), "a translation in feedback/")
    assert pairs.read_text().splitlines() == ["1 May 2003\t2003-05-01"]
    tab(page, "Video")
    name = first_label(page).inner_text()
    word = page.get_by_label("It shows …")
    word.fill(name)
    word.press("Enter")
    page.get_by_role("button", name="Submit").filter(visible=True).click()
    (clip,) = wait_until(lambda: list((demo.feedback / "video").glob(f"{name}/*")), "a clip in feedback/")
    raw = demo.clone.folder / "data" / "video" / "raw" / "clips"
    assert clip.read_bytes() in [path.read_bytes() for path in raw.rglob("*") if path.is_file()]


DAYS = "".join(f"2024-{1 + day // 28:02}-{1 + day % 28:02},{10 + day % 7}.5,x\n" for day in range(112))


def test_a_file_with_columns_of_its_own_is_forecast(page: Page, tmp_path: Path) -> None:
    tab(page, "Forecast")
    upload(page, "good.csv", f"when,how_many,note\n{DAYS}")
    expect(page.get_by_role("gridcell", name="2024-04-29")).to_be_visible()
    expect(page.locator(".chart .band").filter(visible=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the table").filter(visible=True).click()
    table = pd.read_csv(download.value.path())
    assert list(table.columns) == ["unique_id", "ds", "mean", "q05", "q50", "q95"]
    assert len(table) == 7


def test_a_series_without_a_forecast_is_named_beside_the_others(page: Page) -> None:
    days = DAYS.splitlines()
    rows = [line.replace(",x", ",north") for line in days] + [line.replace(",x", ",south") for line in days[:5]]
    upload(page, "two.csv", "\n".join(["date,sales,shop", *rows, ""]))
    expect(page.get_by_text("south: 5 days; allowed: at least 14")).to_be_visible()
    expect(page.get_by_role("gridcell", name="2024-04-29")).to_be_visible()
    cells = page.get_by_role("gridcell").filter(visible=True).all_text_contents()
    numbers = [cell.strip() for cell in cells if re.fullmatch(r"\s*-?[\d.]+\s*", cell)]
    assert numbers
    assert all(re.fullmatch(r"-?\d+(\.\d{1,2})?", number) for number in numbers), numbers
    page.get_by_role("button", name="Close").first.click()


def test_a_broken_file_is_answered_in_words_with_the_line(page: Page) -> None:
    upload(page, "bad.csv", f"ds,y\n2024-01-01,7\n2024-01-02,<b onclick=alert(1)>many</b>\n{DAYS}")
    message = "line 3: found '<b onclick=alert(1)>many</b>' as y; allowed: a number"
    expect(page.locator(".toast-wrap")).to_contain_text(message)
    upload(page, "wide.csv", "ds,y\n2024-01-01,7,8\n")
    expect(page.locator(".toast-wrap")).to_contain_text("line 2: found 3 values for 2 columns")


def test_no_tab_is_wider_than_a_phone(visit: Callable[..., Page]) -> None:
    page = visit(390, 844)
    for name, asks, answer in (
        ("Sketch", "button:text-is('Show one')", ".chart text"),
        ("Drawing", "button:text-is('Draw four')", ".drawings polyline"),
        ("Video", ".gallery-item", ".chart text"),
        ("Translation", ".gallery-item", ".chart rect"),
        ("Forecast", ".gallery-item", ".chart .band"),
    ):
        tab(page, name)
        page.locator(asks).filter(visible=True).first.click()
        expect(page.locator(answer).filter(visible=True).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390, name
    page.close()


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """An address, and the paths that somebody has asked it for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_gradio_has_warned_of_nothing(demo: Demo) -> None:
    assert "UserWarning" not in (demo.clone.folder / "demo.log").read_text()


def test_what_a_stranger_sends_opens_no_file_and_no_address(demo: Demo, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    with listener() as (address, asked):
        for path in (str(secret), "/etc/passwd", f"{address}/clip.mp4", f"file://{secret}", "../../params.yaml"):
            clip = {"path": path, "meta": {"_type": "gradio.FileData"}}
            for extra in ({}, {"url": f"{address}/url.mp4"}):
                done = demo.ask("frames", {**clip, **extra})
                assert done.status_code == 500, path
                assert "secret" not in done.text.replace(str(secret), "")
        assert asked == []
    assert httpx.get(f"{demo.address}/gradio_api/file={secret}").status_code in (403, 404)
    assert httpx.get(f"{demo.address}/gradio_api/file={demo.clone.folder / 'mlflow.db'}").status_code in (403, 404)


def test_huge_and_broken_drawings_are_refused_and_the_page_goes_on(demo: Demo, clock: list[list[list[int]]]) -> None:
    for text in (json.dumps([[[0] * 9000] * 3] * 2), "[[[0,1],[0]]]", json.dumps([[[0, 1], [0, 1]]] * 600), 7):
        assert "drawing: found" in demo.ask("answer_sketch", text, "champion").text
    assert demo.ask("answer_sketch", "x" * 3_000_000, "champion").status_code == 413
    answer = demo.ask("answer_sketch", json.dumps(clock), "champion").json()
    assert answer["data"][0]["label"] == "clock"


def test_a_page_that_is_killed_comes_back(demo: Demo, visit: Callable[..., Page], clock: list[list[list[int]]]) -> None:
    kept = {path: path.read_bytes() for path in demo.feedback.rglob("*") if path.is_file()}
    demo.kill()
    demo.start()
    page = visit()
    draw(page, clock)
    expect(first_label(page)).to_have_text("clock")
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_correction_of_the_page_is_in_the_store_once_after_a_refresh(
    demo: Demo, page: Page, clock: list[list[list[int]]]
) -> None:
    if not list((demo.feedback / "sketch").glob("*.ndjson")):
        test_a_correction_is_on_the_disk_once(demo, page, clock)
    clone = demo.clone
    (file,) = (demo.feedback / "sketch").glob("*.ndjson")
    kept = [json.loads(line)["key_id"] for line in file.read_text().splitlines()]
    clone.edit("params.yaml", "also: []", "also: [feedback/sketch]")
    for ran_stages in (["download@sketch", "preprocess@sketch"], []):
        clone.run("python", "-m", "stages.refresh", "sketch")
        assert clone.repro("preprocess@sketch") == ran_stages
        store, _ = open_prepared(clone.folder / "data/sketch/prepared")
        rows = [row for row in range(len(store)) if str(store.value("id", row)) in kept]
        assert [(str(store.value("label", row)), str(store.value("split", row))) for row in rows] == [("tree", "train")]


def test_ctrl_c_ends_the_page(demo: Demo) -> None:
    assert demo.process is not None
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=60) == 0
